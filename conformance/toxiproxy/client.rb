# Every method of the unmodified toxiproxy-ruby against a server: `client.rb PORT`, JSON lines on stdout.

require "json"
require "socket"
require "timeout"
require "toxiproxy"

# What users can see of a value, without what differs from run to run.
def plain(value)
  case value
  when String then value.gsub(/("version": *)"[^"]*"/, '\1"VERSION"').gsub(/(?<=:)\d{4,5}\b/, "PORT")
  when Symbol then value.to_s
  when Array then value.map { |inner| plain(inner) }
  when Hash then value.to_h { |key, inner| [key.to_s, plain(inner)] }.sort.to_h
  when Toxiproxy
    { is: "Toxiproxy", name: value.name, listen: plain(value.listen), upstream: plain(value.upstream), enabled: value.enabled }
  when Toxiproxy::Toxic
    { is: "Toxic", name: value.name, type: value.type, stream: value.stream, toxicity: value.toxicity,
      attributes: plain(value.attributes) }
  when Toxiproxy::ProxyCollection then plain(value.map { |proxy| proxy }.sort_by(&:name))
  when Toxiproxy::ToxicCollection then plain(value.toxics)
  else value
  end
end

def step(name)
  answer = yield
  puts JSON.generate(step: name, answer: plain(answer))
  answer
rescue StandardError => error
  puts JSON.generate(step: name, answer: { raises: error.class.name, says: plain(error.message) })
end

# What comes back through a proxy; for what is to take its time, whether that was at least 0.2 s.
def talk(proxy, timed: false)
  host, port = proxy.listen.split(":")
  began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  ended = begin
    Timeout.timeout(10) do
      socket = TCPSocket.new(host, port.to_i)
      socket.write("ping")
      back = socket.read(4).to_s
      socket.close
      back == "ping" ? "whole" : "cut after #{back.length}"
    end
  rescue Errno::ECONNREFUSED
    "refused"
  rescue Errno::ECONNRESET, Errno::EPIPE
    "reset"
  rescue Timeout::Error
    "nothing"
  end
  timed ? [ended, Process.clock_gettime(Process::CLOCK_MONOTONIC) - began >= 0.2] : ended
end

$stdout.sync = true
echo = TCPServer.new("127.0.0.1", 0)
Thread.new do
  loop do
    Thread.new(echo.accept) do |socket|
      loop { socket.write(socket.readpartial(65_536)) }
    rescue SystemCallError, EOFError
      socket.close
    end
  end
end
upstream = "127.0.0.1:#{echo.addr[1]}"

step("host=") { Toxiproxy.host = "http://127.0.0.1:#{ARGV[0]}" }
step("running?") { Toxiproxy.running? }
step("version") { Toxiproxy.version }
step("all, none") { Toxiproxy.all }
step("find_by_name, none") { Toxiproxy.find_by_name("none") }
proxy = step("create") { Toxiproxy.create(name: "one", upstream: upstream) }
step("create, again") { Toxiproxy.create(name: "one", upstream: upstream) }
step("create, disabled") { Toxiproxy.create(name: "two", upstream: upstream, listen: "127.0.0.1:0", enabled: false) }
step("create, without a name") { Toxiproxy.create(name: "", upstream: upstream) }
step("create, unusable address") { Toxiproxy.create(name: "three", upstream: upstream, listen: "nowhere") }
step("all") { Toxiproxy.all }
step("find_by_name") { Toxiproxy.find_by_name("one") }
step("find_by_name!") { Toxiproxy.find_by_name!("one") }
step("[]") { Toxiproxy["one"] }
step("grep") { Toxiproxy[/t/] }
step("select") { Toxiproxy.select { |one| one.name == "two" } }
step("reject") { Toxiproxy.reject { |one| one.name == "two" } }
step("traffic") { talk(proxy) }
step("disable") { proxy.disable }
step("traffic, disabled") { talk(proxy) }
step("enable") { proxy.enable }
step("traffic, enabled") { talk(proxy) }
step("down") { proxy.down { talk(proxy) } }
step("traffic, up again") { talk(proxy) }
{
  latency: { latency: 300, jitter: 10 },
  bandwidth: { rate: 100 },
  slow_close: { delay: 100 },
  timeout: { timeout: 300 },
  reset_peer: { timeout: 0 },
  slicer: { average_size: 64, size_variation: 32, delay: 10 },
  limit_data: { bytes: 2 },
}.each do |type, attributes|
  timed = [:latency, :timeout].include?(type)
  [:upstream, :downstream].each do |stream|
    step("#{stream} #{type}") do
      proxy.public_send(stream, type, attributes.dup).apply do
        ended = talk(proxy, timed: timed)
        # Toxiproxy-server drops the answer or not, as it happens.
        ended = ended.split(" after").first if type == :limit_data && stream == :upstream
        [ended, plain(proxy.toxics)]
      end
    end
    step("traffic without #{stream} #{type}") { talk(proxy) }
  end
end
step("toxic") { proxy.toxic(:latency, latency: 1).toxicate(:slow_close).upstream(:timeout, toxicity: 0.5).apply { proxy.toxics } }
step("unknown type") { proxy.toxicate(:poison).apply { nil } }
step("a text for a number") { proxy.toxicate(:latency, latency: "x").apply { nil } }
kept = Toxiproxy::Toxic.new(type: "latency", proxy: proxy, attributes: { latency: 1 }, toxicity: 0.1)
step("Toxic#save") { kept.save }
step("Toxic#save, again") { kept.save }
step("Toxic#as_json") { kept.as_json }
step("Toxic#destroy") { kept.destroy }
step("Toxic#destroy, again") { kept.destroy }
kept.save
step("reset") { Toxiproxy.reset }
step("toxics, after reset") { proxy.toxics }
both = Toxiproxy.all
step("collection down") { both.down { talk(proxy) } }
step("collection upstream") { both.upstream(:noop).apply { both.map(&:toxics).flatten.length } }
step("collection downstream") { both.downstream(:noop).apply { both.map(&:toxics).flatten.length } }
step("collection disable") { both.disable.length }
step("collection enable") { both.enable.length }
step("populate") do
  Toxiproxy.populate([{ name: "one", upstream: upstream, listen: proxy.listen }, { name: "four", upstream: upstream, listen: "127.0.0.1:0" }])
end
step("populate, without an upstream") { Toxiproxy.populate(name: "five") }
step("destroy") { proxy.destroy }
step("destroy, again") { proxy.destroy }
step("toxics, destroyed") { proxy.toxics }
step("enable, destroyed") { proxy.enable }
step("traffic, destroyed") { talk(proxy) }
step("collection destroy") { Toxiproxy.all.destroy.length }
step("all, at the end") { Toxiproxy.all }
