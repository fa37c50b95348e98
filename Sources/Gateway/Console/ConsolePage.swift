/// The console's page in its three parts. Nothing is loaded from anywhere else.
///
/// Whatever comes from outside (names, keys, values, reasons) is put in as text, never as HTML.
enum ConsolePage {
    /// - Parameters:
    ///   - status: where the page asks what the node does.
    ///   - entry: where it looks keys up, with `:key` for the key; `nil` if nowhere.
    static func html(status: String, entry: String?) -> String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Affinity</title>
        <style>\(style)</style>
        </head>
        <body data-status="\(escaped(status))" data-entry="\(escaped(entry ?? ""))">
        \(body)
        <script>\(script)</script>
        </body>
        </html>

        """
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    private static let body = """
        <header>
        <h1><span id="system">Affinity</span> <small id="node"></small></h1>
        <p id="live" class="waiting" role="status">asking …</p>
        </header>
        <main>
        <section class="tiles" aria-label="Summary">
        <div><b id="nodes-up">–</b> nodes</div>
        <div><b id="serving">–</b> partitions here</div>
        <div><b id="commands">–</b> commands/s</div>
        <div><b id="queries">–</b> queries/s</div>
        <div><b id="lag">–</b> records behind</div>
        </section>
        <section id="lookup" hidden>
        <h2>Key</h2>
        <form id="form">
        <input id="key" aria-label="Key" placeholder="key" maxlength="1024" autocomplete="off" autocapitalize="off"
          spellcheck="false" enterkeyhint="search">
        <button>Look up</button>
        <button type="button" id="watch" aria-pressed="false">Watch</button>
        </form>
        <p id="found" hidden></p>
        <pre id="value" hidden></pre>
        <p id="watching" role="status" hidden></p>
        <ol id="changes" reversed hidden></ol>
        </section>
        <div id="keyspaces"></div>
        <section>
        <h2>Nodes</h2>
        <table>
        <thead><tr><th scope="col">node</th><th scope="col">address</th><th scope="col">state</th></tr></thead>
        <tbody id="nodes"></tbody>
        </table>
        </section>
        </main>
        <noscript><p>The console needs JavaScript; <code>/status</code> says the same.</p></noscript>
        """

    static let style = """

        :root { color-scheme: light dark; --ground: #f6f7f9; --panel: #fff; --ink: #1c2430; --dim: #5d6b7e;
          --line: #dde3ea; --good: #0a7d45; --warn: #9a6200; --bad: #b3261e; --accent: #2457c5; }
        @media (prefers-color-scheme: dark) { :root { --ground: #12161c; --panel: #1b212a; --ink: #e6ebf2;
          --dim: #93a1b5; --line: #2c3542; --good: #4cc38a; --warn: #e0a84a; --bad: #ff8a80; --accent: #86aaff; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--ground); color: var(--ink);
          font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
        header, main { max-width: 76rem; margin: 0 auto; padding: 0 1rem; }
        header { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 1rem;
          padding-top: 1rem; }
        h1 { font-size: 1.4rem; margin: 0; } h1 small { color: var(--dim); font-weight: 400; }
        h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
        section { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem;
          margin: 1rem 0; overflow-wrap: anywhere; }
        #live { margin: 0; color: var(--good); } #live::before { content: "● "; }
        #live.waiting { color: var(--warn); } #live.lost { color: var(--bad); }
        .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(6rem, 1fr)); gap: .8rem; color: var(--dim);
          font-size: .9rem; }
        .tiles b { display: block; font-size: 1.5rem; color: var(--ink); font-variant-numeric: tabular-nums; }
        table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
        th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line);
          vertical-align: top; }
        th { color: var(--dim); font-weight: 500; font-size: .85rem; }
        tbody tr:last-child td { border-bottom: 0; }
        td.number, th.number { text-align: right; }
        .number + :not(.number) { padding-left: 1rem; }
        .good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .dim { color: var(--dim); }
        form { display: flex; flex-wrap: wrap; gap: .5rem; }
        input { flex: 1 1 12rem; min-width: 0; } input, button { font: inherit; padding: .45rem .7rem;
          border: 1px solid var(--line); border-radius: .4rem; background: var(--ground); color: var(--ink); }
        button { cursor: pointer; border-color: var(--accent); color: var(--accent); }
        button[aria-pressed="true"] { background: var(--accent); color: var(--panel); }
        pre, ol code { font: 13px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; white-space: pre-wrap;
          overflow-wrap: anywhere; }
        pre { background: var(--ground); border-radius: .4rem; padding: .7rem; margin: .6rem 0; max-height: 22rem;
          overflow: auto; }
        ol { padding-left: 0; list-style: none; max-height: 22rem; overflow: auto; margin: .6rem 0 0; }
        ol li { padding: .3rem 0; border-top: 1px solid var(--line); display: grid; align-items: baseline;
          grid-template-columns: 14rem minmax(0, 1fr); gap: 0 .8rem; font-variant-numeric: tabular-nums; }
        @media (max-width: 44rem) {
          input { flex-basis: 100%; } form button { flex: 1; } ol li { grid-template-columns: minmax(0, 1fr); }
          .partitions thead { display: none; } .partitions, .partitions tbody { display: block; }
          .partitions tr { display: grid; grid-template-columns: 1fr 1fr; padding: .5rem 0;
            border-bottom: 1px solid var(--line); }
          .partitions tr:last-child { border-bottom: 0; }
          .partitions td, .partitions td.number { border: 0; padding: .1rem 0; text-align: left; }
          .partitions .number + td { padding-left: 0; } .partitions td:first-child { font-weight: 600; }
          .partitions td::before { content: attr(data-label) " "; color: var(--dim); font-size: .85rem; }
        }

        """

    static let script = #"""

        "use strict";
        const part = (id) => document.getElementById(id);
        const { status: statusPath, entry: entryPath } = document.body.dataset;
        const pause = 1000, patience = 5000, kept = 6, shown = 100, cut = 20000;

        // Everything that comes from the node goes through here, or through textContent: never through HTML.
        function make(tag, text, style) {
          const element = document.createElement(tag);
          if (text !== undefined) element.textContent = text;
          if (style) element.className = style;
          return element;
        }
        const short = (text) => text.length > cut ? text.slice(0, cut) + " …" : text;
        const rateText = (rate) => rate === undefined ? "–" : rate >= 100 ? Math.round(rate).toLocaleString("en")
          : rate === 0 ? "0" : rate.toFixed(1);

        // MARK: - Partitions and nodes

        const samples = new Map();

        // How much more there is a second, over the last few looks; undefined at the first one.
        function rate(name, count, now) {
          const list = samples.get(name) ?? [];
          // The process began anew: it counts from nothing again.
          if (list.length > 0 && count < list[list.length - 1].count) list.length = 0;
          list.push({ count, now });
          if (list.length > kept) list.shift();
          samples.set(name, list);
          const first = list[0];
          return list.length < 2 ? undefined : (count - first.count) * 1000 / (now - first.now);
        }

        const roles = { master: "good", standby: "", none: "dim" };
        const states = { serving: "good", standby: "good", failed: "bad", stopped: "dim" };
        const columns = ["partition", "role", "state", "master", "epoch", "position", "behind", "in flight", "commands/s",
          "queries/s", "standbys"];
        const numbers = new Set(["epoch", "position", "behind", "commands/s", "queries/s", "in flight"]);

        function row(name, partition, now, sums) {
          const commands = rate(`${name}/${partition.partition}/c`, partition.commands, now);
          const queries = rate(`${name}/${partition.partition}/q`, partition.queries, now);
          sums.commands += commands ?? 0;
          sums.queries += queries ?? 0;
          sums.lag += partition.role === "none" ? 0 : partition.lag;
          sums.serving += partition.state === "serving" ? 1 : 0;
          const moving = partition.next ? ` → ${partition.next.join(", ")}` : "";
          const why = partition.reason ? `: ${partition.reason}` : "";
          const cells = [
            [partition.partition], [partition.role, roles[partition.role]],
            [partition.state + why + moving, states[partition.state] ?? "warn"],
            [partition.master ?? "none", partition.master === null ? "bad" : ""], [partition.epoch], [partition.position],
            [partition.lag, partition.lag > 0 ? "warn" : ""], [partition.inFlight], [rateText(commands)],
            [rateText(queries)], [partition.standbys.join(", ") || "–"],
          ];
          const element = document.createElement("tr");
          cells.forEach(([text, style], index) => {
            const cell = make("td", String(text), style);
            cell.dataset.label = columns[index];
            if (numbers.has(columns[index])) cell.classList.add("number");
            element.append(cell);
          });
          return element;
        }

        function table(name, keyspace, now, sums) {
          const section = document.createElement("section");
          section.append(make("h2", `Keyspace ${name}`));
          const element = make("table", undefined, "partitions");
          const head = element.createTHead().insertRow();
          for (const column of columns) {
            const cell = make("th", column, numbers.has(column) ? "number" : "");
            cell.scope = "col";
            head.append(cell);
          }
          element.createTBody().append(...keyspace.partitions.map((partition) => row(name, partition, now, sums)));
          section.append(element);
          return section;
        }

        function show(status, now) {
          document.title = `${status.node} · ${status.system}`;
          part("system").textContent = status.system;
          part("node").textContent = status.node;
          const sums = { commands: 0, queries: 0, lag: 0, serving: 0 };
          const names = Object.keys(status.keyspaces).sort();
          const all = names.reduce((sum, name) => sum + status.keyspaces[name].partitions.length, 0);
          part("keyspaces").replaceChildren(...names.map((name) => table(name, status.keyspaces[name], now, sums)));
          part("nodes-up").textContent = status.nodes.length;
          part("serving").textContent = `${sums.serving} of ${all}`;
          part("commands").textContent = rateText(sums.commands);
          part("queries").textContent = rateText(sums.queries);
          part("lag").textContent = sums.lag;
          part("nodes").replaceChildren(...status.nodes.map((node) => {
            const element = document.createElement("tr");
            const isHere = node.id === status.node ? " (this one)" : "";
            element.append(make("td", node.id + isHere), make("td", node.address),
              make("td", node.state, node.state === "up" ? "good" : "warn"));
            return element;
          }));
        }

        let answered;
        function say(text, style) { part("live").textContent = text; part("live").className = style; }

        async function look() {
          if (!document.hidden) {
            try {
              const answer = await fetch(statusPath, { cache: "no-store", signal: AbortSignal.timeout(patience) });
              if (!answer.ok) throw new Error(`status ${answer.status}`);
              show(await answer.json(), performance.now());
              answered = performance.now();
              say("live", "");
            } catch (error) {
              const since = answered === undefined ? "" : ` for ${Math.round((performance.now() - answered) / 1000)} s`;
              say(`no answer${since}`, "lost");
            }
          }
          setTimeout(look, pause);
        }

        // MARK: - One key

        const pathOf = (key) => entryPath.replace(":key", () => encodeURIComponent(key));
        // A browser takes these two for the way up, however they are written.
        const cannotBeAsked = (key) => key === "" || key === "." || key === "..";

        function found(text, style) {
          part("found").textContent = text;
          part("found").className = style ?? "";
          part("found").hidden = false;
        }

        let asked = 0;
        async function lookUp(key) {
          const turn = ++asked;
          part("value").hidden = true;
          if (cannotBeAsked(key)) return found("this key cannot be asked for from a browser", "warn");
          found("asking …", "dim");
          try {
            const answer = await fetch(pathOf(key), { cache: "no-store", signal: AbortSignal.timeout(patience) });
            const text = await answer.text();
            if (turn !== asked) return;
            const version = answer.headers.get("ETag")?.replaceAll('"', ""), at = answer.headers.get("Affinity-Position");
            const place = at ? `, partition ${at.split(":")[0]} at ${at.split(":")[1]}` : "";
            if (answer.ok) found(`${answer.status}: version ${version}${place}`, "good");
            else found(answer.status === 404 ? `404: nothing there${place}` : `status ${answer.status}`, "warn");
            part("value").textContent = short(text);
            part("value").hidden = answer.status === 404;
          } catch (error) {
            if (turn === asked) found("no answer", "bad");
          }
        }

        let socket = null, watched = null;

        function note(text, style) {
          part("watching").textContent = text;
          part("watching").className = style ?? "";
          part("watching").hidden = false;
        }

        function stopWatching() {
          watched = null;
          socket?.close(1000);
          socket = null;
          part("watch").setAttribute("aria-pressed", "false");
          part("watch").textContent = "Watch";
        }

        function watch(key) {
          stopWatching();
          part("changes").replaceChildren();
          part("changes").hidden = false;
          if (cannotBeAsked(key)) return note("this key cannot be watched from a browser", "warn");
          watched = { key, version: null, tries: 0, hasOpened: false };
          part("watch").setAttribute("aria-pressed", "true");
          part("watch").textContent = "Stop";
          connect(watched);
        }

        function connect(watching) {
          if (watched !== watching) return;
          const after = watching.version === null ? "" : `?after=${watching.version}`;
          const scheme = location.protocol === "https:" ? "wss:" : "ws:";
          note("connecting …", "dim");
          socket = new WebSocket(`${scheme}//${location.host}${pathOf(watching.key)}${after}`);
          socket.onopen = () => {
            watching.hasOpened = true;
            watching.tries = 0;
            note("watching, live", "good");
          };
          socket.onmessage = (message) => { if (watched === watching) change(watching, String(message.data)); };
          socket.onclose = (event) => {
            if (watched !== watching) return;
            watching.tries += 1;
            if (!watching.hasOpened && watching.tries > 2) {
              stopWatching();
              return note("this key cannot be watched here", "bad");
            }
            note(`connection lost (${event.code}), trying again …`, "warn");
            setTimeout(connect, Math.min(10000, 500 * 2 ** watching.tries), watching);
          };
        }

        // The value is shown as it came, byte for byte, so the frame around it is taken off, not decoded.
        function change(watching, text) {
          const put = /^\{"version":(\d+),"value":([\s\S]*)\}$/.exec(text);
          const gone = /^\{"version":(\d+),"deleted":true\}$/.exec(text);
          const what = put ? put[2] : gone ? (gone[1] === "0" ? "nothing there" : "deleted")
            : text === '{"reset":true}' ? "from here on anew: changes in between are gone from the log" : text;
          const version = put?.[1] ?? gone?.[1];
          if (version !== undefined) watching.version = version;
          const line = document.createElement("li");
          const place = version === undefined || version === "0" ? "" : ` · version ${version}`;
          line.append(make("span", new Date().toLocaleTimeString() + place, "dim"),
            make("code", short(what), put ? "" : "warn"));
          part("changes").prepend(line);
          while (part("changes").childElementCount > shown) part("changes").lastElementChild.remove();
        }

        // #key=… looks a key up, #watch=… watches it too: so that a place in the console can be handed on.
        function follow() {
          const wanted = /^#(key|watch)=([\s\S]*)$/.exec(location.hash);
          if (!wanted) return;
          let key;
          try { key = decodeURIComponent(wanted[2]); } catch (error) { return; }
          part("key").value = key;
          const watches = wanted[1] === "watch";
          // What was found once would grow old beside the changes, the first of which is the entry as it is.
          for (const id of ["found", "value"]) part(id).hidden = true;
          for (const id of ["watching", "changes"]) part(id).hidden = !watches;
          if (watches) { asked += 1; watch(key); } else { stopWatching(); lookUp(key); }
        }

        function go(name) {
          const target = `#${name}=${encodeURIComponent(part("key").value)}`;
          if (location.hash === target) follow(); else location.hash = target;
        }

        if (entryPath) {
          part("lookup").hidden = false;
          part("form").addEventListener("submit", (event) => { event.preventDefault(); go("key"); });
          part("watch").addEventListener("click", () => { if (watched) stopWatching(); else go("watch"); });
          addEventListener("hashchange", follow);
          follow();
        }
        look();

        """#
}
