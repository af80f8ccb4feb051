/// The documents that are generated from the table. A test compares the committed ones with these.
extension Settings {
    /// `conf/skystead.env.example`: every setting with its help, commented out at its default.
    public static var exampleFile: String {
        var out = """
            # Skystead's settings: KEY=value, as in the environment, which wins over this file.
            # Copy to /etc/skystead/skystead.env and take the # away from what you change.
            # `skystead settings` prints what is in force and where it comes from.
            # Made from the table in Sources/Shared/Base/SettingsTable.swift by `skystead settings --example`.

            """
        for (heading, rows) in table {
            out += "\n# == \(heading)\n"
            for row in rows where row.key != file.key {
                out += "\n"
                for line in wrapped("\(row.help)\(note(row))", width: 110) { out += "# \(line)\n" }
                out += "# It is \(row.grammar).\n"
                out += "#\(row.key)=\(row.fallback ?? "")\n"
            }
        }
        return out
    }

    /// `docs/skystead-settings.md`: the manual page.
    public static var manual: String {
        var out = """
            # Settings

            Settings are `KEY=value`, in the environment and in one file alike. The environment wins over the file, the
            file over the defaults below. `skystead settings` prints what is in force and where each value comes from.

            - A `SKYSTEAD_` key that is not in this list is an error: a typing mistake never passes for a default.
            - An empty value means the default.
            - In the file a value may stand in single or double quotes. Nothing is escaped or expanded, so that a shell,
              systemd's `EnvironmentFile=` and Skystead read the same.
            - A secret can come from a file: `KEY_FILE=/path`, or systemd's `LoadCredential=KEY:/path`.
            - *Reserved* settings belong to parts that are not there yet: they are accepted and checked, and nothing
              reads them.

            """
        for (heading, rows) in table {
            out += "\n## \(heading)\n"
            for row in rows {
                out += "\n### `\(row.key)`\n\n"
                for line in wrapped("\(row.help)\(note(row))", width: 118) { out += "\(line)\n" }
                let fallback = row.fallback.map { $0.isEmpty ? "empty" : "`\($0)`" } ?? "none"
                out += "\nIt is \(row.grammar). Default: \(fallback).\n"
            }
        }
        return out
    }

    /// `docs/skystead.env.5`: the same for man(1).
    public static var manualPage: String {
        var out = """
            .TH SKYSTEAD.ENV 5 "" "Skystead" "File formats"
            .SH NAME
            skystead.env \\- settings of Skystead
            .SH DESCRIPTION
            Settings are KEY=value, in the environment and in one file alike. The environment wins over the file.
            Keys that are not in this list are errors. A secret can come from a file: KEY_FILE=/path, or systemd's
            LoadCredential=KEY:/path.
            .BR "skystead settings"
            prints what is in force and where it comes from.

            """
        for (heading, rows) in table {
            out += ".SH \(heading.uppercased())\n"
            for row in rows {
                out += ".TP\n.B \(row.key)\n"
                for line in wrapped("\(row.help)\(note(row))", width: 100) { out += roff(line) + "\n" }
                let fallback = row.fallback.map { $0.isEmpty ? "empty" : $0 } ?? "none"
                out += roff("It is \(row.grammar). Default: \(fallback).") + "\n"
            }
        }
        return out
    }

    private static func note(_ row: any SettingRow) -> String {
        var note = ""
        if row.secret { note += " A secret." }
        if row.reserved { note += " Reserved." }
        return note
    }

    /// A line that begins with `.` or `'` would be a request to roff, and `\` its escape.
    private static func roff(_ line: String) -> String {
        var out = ""
        for character in line.unicodeScalars {
            if character == "\\" {
                out += "\\e"
            } else if character == "-" {
                out += "\\-"
            } else {
                out.unicodeScalars.append(character)
            }
        }
        return line.utf8.first == 0x2E || line.utf8.first == 0x27 ? "\\&" + out : out
    }

    private static func wrapped(_ text: String, width: Int) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.utf8.count + 1 + word.utf8.count > width {
                lines.append(line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        lines.append(line)
        return lines
    }
}
