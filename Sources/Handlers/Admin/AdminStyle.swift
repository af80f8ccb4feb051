internal import Base
internal import Web

/// The style of the pages: light and dark, narrow and wide, without anything from elsewhere.
enum AdminStyle {
    static func response() -> Response {
        var response = Response(status: 200, body: .bytes(sheet.withUTF8Buffer { Array($0) }))
        response.append("Content-Type", "text/css; charset=utf-8")
        response.append("Cache-Control", "max-age=300")
        response.appendCommonSecurity()
        return response
    }

    private static let sheet: StaticString = """
        :root {
          color-scheme: light dark;
          --ink: #1b2430; --soft: #57616e; --paper: #ffffff; --back: #f3f5f8; --line: #d5dbe3; --accent: #0b5cad;
          --on-accent: #ffffff; --bad: #a61b1b; --good: #1d6b3a; --warn: #7a5200;
        }
        @media (prefers-color-scheme: dark) {
          :root {
            --ink: #e6eaf0; --soft: #a3adba; --paper: #171c24; --back: #0f1319; --line: #2e3743; --accent: #7ab7f5;
            --on-accent: #0f1319; --bad: #ff9a92; --good: #83d6a1; --warn: #f0c368;
          }
        }
        * { box-sizing: border-box; }
        body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
        a { color: var(--accent); }
        a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible, .scroll:focus-visible {
          outline: 3px solid var(--accent); outline-offset: 2px;
        }
        .bar { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: center; padding: .75rem 1.25rem;
          background: var(--paper); border-bottom: 1px solid var(--line); }
        .bar .home { font-weight: 700; text-decoration: none; color: var(--ink); }
        .bar nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; flex: 1; }
        .bar nav a { text-decoration: none; padding: .25rem 0; border-bottom: 2px solid transparent; }
        .bar nav a[aria-current] { border-color: var(--accent); color: var(--ink); }
        main { max-width: 72rem; margin: 0 auto; padding: 1.25rem; }
        main.narrow { max-width: 26rem; padding-top: 12vh; }
        h1 { font-size: 1.5rem; margin: .25rem 0 1rem; }
        h2 { font-size: 1.125rem; margin: 1.75rem 0 .5rem; }
        .figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: .75rem;
          margin: 0; }
        .figure { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }
        .figure dt { color: var(--soft); font-size: .875rem; }
        .figure dd { margin: 0; font-size: 1.375rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
        .scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; }
        table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
        caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
        th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
        tbody tr:last-child td { border-bottom: 0; }
        th { color: var(--soft); font-weight: 600; white-space: nowrap; }
        td code, td time { white-space: nowrap; }
        td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        code { font: .875em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
        .said { max-height: 12rem; max-width: 40rem; overflow: auto; overflow-wrap: anywhere; white-space: pre-wrap; }
        .state { display: inline-block; padding: 0 .5rem; border: 1px solid currentColor; border-radius: 1rem;
          font-size: .8125rem; white-space: nowrap; }
        .state.good { color: var(--good); } .state.bad { color: var(--bad); } .state.warn { color: var(--warn); }
        form.line { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; margin: 0 0 1rem; }
        .field { display: grid; gap: .25rem; margin: 0 0 .75rem; }
        form.line .field { margin: 0; }
        .field span { font-size: .875rem; color: var(--soft); }
        .field small { color: var(--soft); }
        input, select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft);
          border-radius: .375rem; padding: .5rem .625rem; min-width: 0; width: 100%; }
        button { font: inherit; font-weight: 600; border: 1px solid var(--accent); border-radius: .375rem;
          background: var(--accent); color: var(--on-accent); padding: .5rem .875rem; cursor: pointer;
          min-height: 2.75rem; }
        button.quiet { background: transparent; color: var(--accent); }
        button.danger { background: transparent; color: var(--bad); border-color: var(--bad); }
        .actions { display: flex; flex-wrap: wrap; gap: .75rem; margin: .5rem 0; }
        .problem { border-left: 4px solid var(--bad); background: var(--paper); padding: .75rem 1rem; }
        .note { border-left: 4px solid var(--accent); background: var(--paper); padding: .75rem 1rem; }
        dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 0; }
        dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
        footer { color: var(--soft); font-size: .8125rem; padding: 1.5rem 1.25rem; text-align: center; }
        @media (max-width: 34rem) { dl.facts { grid-template-columns: 1fr; } dl.facts dd { margin-bottom: .5rem; } }

        """
}
