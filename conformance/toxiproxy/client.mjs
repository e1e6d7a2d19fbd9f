// Every method of the unmodified toxiproxy-node-client against a server: `client.mjs PORT NODE_MODULES`, JSON lines on
// stdout.

import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";

const [port, modules] = process.argv.slice(2);
const { Toxiproxy, Proxy, Toxic, ToxiproxyError } = createRequire(path.join(modules, "x.js"))("toxiproxy-node-client");

// What users can see of a value, without what differs from run to run.
function plain(value) {
  if (typeof value === "string") {
    return value.replace(/("version": *)"[^"]*"/g, '$1"VERSION"').replace(/(?<=:)\d{4,5}\b/g, "PORT");
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Proxy || value instanceof Toxic) {
    return { is: value.constructor.name, path: plain(value.getPath()), ...plain(value.toJson()) };
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]));
  }
  return value === undefined ? null : value;
}

async function step(name, call) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    answer = { raises: error.name, client: error instanceof ToxiproxyError, says: error.message };
  }
  console.log(JSON.stringify({ step: name, answer: plain(answer) }));
  return answer;
}

// What comes back through a proxy; for what is to take its time, whether that was at least 0.2 s.
function talk(proxy, { data = Buffer.from("ping"), timed = false, closing = false } = {}) {
  const [host, port] = proxy.listen.split(":");
  let began = performance.now();
  return new Promise((done) => {
    const socket = net.connect(Number(port), host, () => socket.write(data));
    let count = 0;
    const end = (back) => {
      socket.destroy();
      done(timed || closing ? [back, performance.now() - began >= 200] : back);
    };
    socket.setTimeout(10_000, () => end("nothing"));
    socket.on("data", (more) => {
      count += more.length;
      if (count < data.length) return;
      if (!closing) return end("whole");
      began = performance.now();
      socket.end();
    });
    socket.on("end", () => end(count < data.length ? `cut after ${count}` : "whole, closed"));
    socket.on("error", (error) => end(error.code === "ECONNREFUSED" ? "refused" : "reset"));
  });
}

const echo = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.pipe(socket);
});
await new Promise((ready) => echo.listen(0, "127.0.0.1", ready));
const upstream = `127.0.0.1:${echo.address().port}`;

const server = new Toxiproxy(`http://127.0.0.1:${port}`);
await step("getApi", () => server.getApi().constructor.name);
await step("getVersion", () => server.getVersion());
await step("getAll, none", () => server.getAll());
await step("get, none", () => server.get("none"));
const body = { name: "one", listen: "127.0.0.1:0", upstream };
let proxy = await step("createProxy", () => server.createProxy(body));
await step("createProxy, again", () => server.createProxy(body));
await step("createProxy, disabled", () => server.createProxy({ ...body, name: "two", enabled: false }));
await step("createProxy, without a name", () => server.createProxy({ ...body, name: "" }));
await step("createProxy, unusable address", () => server.createProxy({ ...body, name: "three", listen: "nowhere" }));
await step("get", () => server.get("one"));
await step("getAll", () => server.getAll());
await step("getToxiproxy", () => proxy.getToxiproxy() === server);
await step("getHost", () => proxy.getHost());
await step("getPath", () => proxy.getPath());
await step("toJson", () => proxy.toJson());
await step("traffic", () => talk(proxy));
await step("update, disabled", () => proxy.update({ ...proxy.toJson(), enabled: false }));
await step("traffic, disabled", () => talk(proxy));
proxy = await step("update, enabled", () => proxy.update({ ...proxy.toJson(), enabled: true }));
await step("traffic, enabled", () => talk(proxy));
await step("update, unusable address", () => proxy.update({ listen: "nowhere" }));
proxy = await step("update, other address", () => proxy.update({ ...proxy.toJson(), listen: "127.0.0.1:0" }));
await step("traffic, other address", () => talk(proxy));
const toxics = [
  ["latency", { latency: 300, jitter: 10 }],
  ["bandwidth", { rate: 100 }],
  ["slow_close", { delay: 300 }],
  ["timeout", { timeout: 300 }],
  ["reset_peer", { timeout: 0 }],
  ["slicer", { average_size: 64, size_variation: 32, delay: 10 }],
  ["limit_data", { bytes: 2 }],
];
const traffic = {
  latency: { timed: true },
  bandwidth: { timed: true, data: Buffer.alloc(60_000, "x") },
  slow_close: { closing: true },
  timeout: { timed: true },
};
for (const [type, attributes] of toxics) {
  for (const stream of ["downstream", "upstream"]) {
    const name = `${type}_${stream}`;
    const toxic = await step(`addToxic ${name}`, () => proxy.addToxic({ type, stream, attributes, name, toxicity: 1 }));
    await step(`getToxic ${name}`, () => proxy.getToxic(name));
    // After a limit upstream toxiproxy-server drops the answer or not, as it happens.
    const shown = (ended) => (name === "limit_data_upstream" ? ended.split(" after")[0] : ended);
    await step(`traffic ${name}`, async () => shown(await talk(proxy, traffic[type])));
    await step(`Toxic.update ${name}`, () => toxic.update({ ...toxic.toJson(), toxicity: 0 }));
    await step(`traffic, toxicity 0, ${name}`, () => talk(proxy));
    await step(`Toxic.remove ${name}`, () => toxic.remove());
    await step(`getToxic, removed ${name}`, () => proxy.getToxic(name));
  }
}
const kept = await step("addToxic, defaults", () => proxy.addToxic({ type: "latency" }));
await step("addToxic, again", () => proxy.addToxic({ type: "latency" }));
await step("addToxic, unknown type", () => proxy.addToxic({ type: "poison" }));
await step("addToxic, unknown stream", () => proxy.addToxic({ type: "latency", stream: "sideways" }));
await step("Toxic.toJson", () => kept.toJson());
await step("Toxic.getPath", () => kept.getPath());
await step("Toxic.update, one attribute", () => kept.update({ attributes: { jitter: 3 } }));
await step("Toxic.update, another", () => kept.update({ attributes: { latency: 4 } }));
await step("Toxic.update, a text", () => kept.update({ attributes: { latency: "4" } }));
await step("Toxic.update, a fraction", () => kept.update({ attributes: { latency: 4.5 } }));
await step("Toxic.update, toxicity", () => kept.update({ toxicity: 0.1 }));
await step("reset", () => server.reset());
await step("getToxic, after reset", () => proxy.getToxic("latency_downstream"));
await step("getAll, after reset", () => server.getAll());
await step("populate", () => server.populate([proxy.toJson(), { ...body, name: "four" }, { ...body, name: "two", upstream: "127.0.0.1:1" }]));
await step("populate, none", () => server.populate([]));
await step("populate, without an upstream", () => server.populate([{ name: "five" }]));
await step("remove", () => proxy.remove());
await step("remove, again", () => proxy.remove());
await step("traffic, removed", () => talk(proxy));
await step("update, removed", () => proxy.update(proxy.toJson()));
for (const rest of Object.values(await server.getAll())) await step(`remove ${rest.name}`, () => rest.remove());
await step("getAll, all removed", () => server.getAll());
await step("no server", () => new Toxiproxy("http://127.0.0.1:1").getVersion().catch((error) => { throw Object.assign(error, { message: "" }); }));
echo.close();
process.exit(0);
