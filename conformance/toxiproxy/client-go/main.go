// Every method of Toxiproxy's own Go client, unmodified, against a server: `main PORT`, JSON lines on stdout.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"sort"
	"strings"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"
)

var (
	ports   = regexp.MustCompile(`:\d{4,5}\b`)
	version = regexp.MustCompile(`(\\"version\\": *\\")[^"\\]*`)
)

// step prints what a call answers, without what differs from run to run.
func step(name string, call func() (any, error)) {
	value, err := call()
	if err != nil {
		answer := map[string]any{"says": err.Error()}
		var api *toxiproxy.ApiError
		if errors.As(err, &api) {
			answer["status"] = api.Status
		}
		value = answer
	}
	line, err := json.Marshal(map[string]any{"step": name, "answer": value})
	if err != nil {
		panic(err)
	}
	line = ports.ReplaceAll(line, []byte(":PORT"))
	fmt.Println(string(version.ReplaceAll(line, []byte(`${1}VERSION`))))
}

func nothing(err error) (any, error) { return nil, err }

// echo is an echo server; its address.
func echo() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(connection, connection)
				_ = connection.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// talk is what comes back through a proxy, and whether that took at least 0.2 s where it is to take its time.
func talk(proxy *toxiproxy.Proxy, timed bool) (any, error) {
	began := time.Now()
	ended := "whole"
	connection, err := net.DialTimeout("tcp", proxy.Listen, 10*time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused", nil
	}
	if err != nil {
		return "reset", nil
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = connection.Write([]byte("ping"))
	count, err := io.ReadFull(connection, make([]byte, 4))
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		ended = fmt.Sprintf("cut after %d", count)
	} else if err != nil {
		ended = "reset"
	}
	if timed {
		return []any{ended, time.Since(began) >= 200*time.Millisecond}, nil
	}
	return ended, nil
}

func main() {
	client := toxiproxy.NewClient("127.0.0.1:" + os.Args[1])
	upstream := echo()
	step("Version", func() (any, error) { answer, err := client.Version(); return string(answer), err })
	step("Proxies, none", func() (any, error) { return client.Proxies() })
	step("Proxy, none", func() (any, error) { return client.Proxy("none") })
	proxy, err := client.CreateProxy("one", "127.0.0.1:0", upstream)
	step("CreateProxy", func() (any, error) { return proxy, err })
	step("CreateProxy, again", func() (any, error) { return client.CreateProxy("one", "127.0.0.1:0", upstream) })
	step("CreateProxy, without a name", func() (any, error) { return client.CreateProxy("", "127.0.0.1:0", upstream) })
	step("CreateProxy, unusable address", func() (any, error) { return client.CreateProxy("two", "nowhere", upstream) })
	fresh := client.NewProxy()
	fresh.Name, fresh.Listen, fresh.Upstream = "three", "127.0.0.1:0", upstream
	step("NewProxy, Save", func() (any, error) { return fresh, fresh.Save() })
	step("Proxy", func() (any, error) { return client.Proxy("one") })
	step("Proxies", func() (any, error) { return client.Proxies() })
	step("traffic", func() (any, error) { return talk(proxy, false) })
	step("Disable", func() (any, error) { return proxy, proxy.Disable() })
	step("traffic, disabled", func() (any, error) { return talk(proxy, false) })
	step("Enable", func() (any, error) { return proxy, proxy.Enable() })
	step("traffic, enabled", func() (any, error) { return talk(proxy, false) })
	proxy.Listen = "127.0.0.1:0"
	step("Save, other address", func() (any, error) { return proxy, proxy.Save() })
	step("traffic, other address", func() (any, error) { return talk(proxy, false) })
	kinds := map[string]toxiproxy.Attributes{
		"bandwidth":  {"rate": 100},
		"latency":    {"latency": 300, "jitter": 10},
		"limit_data": {"bytes": 2},
		"reset_peer": {"timeout": 0},
		"slicer":     {"average_size": 64, "size_variation": 32, "delay": 10},
		"slow_close": {"delay": 100},
		"timeout":    {"timeout": 300},
	}
	names := make([]string, 0, len(kinds))
	for kind := range kinds {
		names = append(names, kind)
	}
	sort.Strings(names)
	for _, kind := range names {
		timed := kind == "latency" || kind == "timeout"
		for _, stream := range []string{"downstream", "upstream"} {
			name := kind + "_" + stream
			step("AddToxic "+name, func() (any, error) { return proxy.AddToxic("", kind, stream, 1, kinds[kind]) })
			step("traffic "+name, func() (any, error) {
				ended, err := talk(proxy, timed)
				if text, ok := ended.(string); ok && name == "limit_data_upstream" {
					// Toxiproxy-server drops the answer or not, as it happens.
					ended, _, _ = strings.Cut(text, " after")
				}
				return ended, err
			})
			step("UpdateToxic "+name, func() (any, error) { return proxy.UpdateToxic(name, 0, nil) })
			step("traffic, toxicity 0, "+name, func() (any, error) { return talk(proxy, false) })
			step("RemoveToxic "+name, func() (any, error) { return nothing(proxy.RemoveToxic(name)) })
		}
	}
	step("AddToxic, default toxicity", func() (any, error) { return proxy.AddToxic("x", "latency", "", -1, nil) })
	step("AddToxic, stream", func() (any, error) { return proxy.AddToxic("x", "latency", "downstream", -1, nil) })
	step("AddToxic, again", func() (any, error) { return proxy.AddToxic("x", "latency", "upstream", 1, nil) })
	step("AddToxic, unknown type", func() (any, error) { return proxy.AddToxic("", "poison", "upstream", 1, nil) })
	step("AddToxic, unknown stream", func() (any, error) { return proxy.AddToxic("", "latency", "sideways", 1, nil) })
	step("UpdateToxic, one attribute", func() (any, error) {
		return proxy.UpdateToxic("x", -1, toxiproxy.Attributes{"jitter": 3})
	})
	step("UpdateToxic, another", func() (any, error) {
		return proxy.UpdateToxic("x", 0.1, toxiproxy.Attributes{"latency": 4})
	})
	step("UpdateToxic, unknown", func() (any, error) { return proxy.UpdateToxic("none", 1, nil) })
	step("Toxics", func() (any, error) { return proxy.Toxics() })
	step("RemoveToxic, unknown", func() (any, error) { return nothing(proxy.RemoveToxic("none")) })
	options := &toxiproxy.ToxicOptions{ProxyName: "one", ToxicName: "y", ToxicType: "slow_close", Stream: "upstream", Toxicity: 1}
	step("Client.AddToxic", func() (any, error) { return client.AddToxic(options) })
	options.Attributes = toxiproxy.Attributes{"delay": 7}
	step("Client.UpdateToxic", func() (any, error) { return client.UpdateToxic(options) })
	step("Client.RemoveToxic", func() (any, error) { return nothing(client.RemoveToxic(options)) })
	step("Client.RemoveToxic, again", func() (any, error) { return nothing(client.RemoveToxic(options)) })
	step("ResetState", func() (any, error) { return nothing(client.ResetState()) })
	step("Proxies, after reset", func() (any, error) { return client.Proxies() })
	step("Populate", func() (any, error) {
		return client.Populate([]toxiproxy.Proxy{
			{Name: "one", Listen: proxy.Listen, Upstream: upstream, Enabled: true},
			{Name: "four", Listen: "127.0.0.1:0", Upstream: "127.0.0.1:1", Enabled: true},
		})
	})
	step("Populate, none", func() (any, error) { return client.Populate(nil) })
	step("Populate, without an upstream", func() (any, error) { return client.Populate([]toxiproxy.Proxy{{Name: "five"}}) })
	step("Delete", func() (any, error) { return nothing(proxy.Delete()) })
	step("Delete, again", func() (any, error) { return nothing(proxy.Delete()) })
	step("traffic, deleted", func() (any, error) { return talk(proxy, false) })
	step("Save, deleted", func() (any, error) { return nothing(proxy.Save()) })
	step("Proxies, at the end", func() (any, error) { return client.Proxies() })
}
