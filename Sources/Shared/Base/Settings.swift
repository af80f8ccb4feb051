internal import Glibc

/// The settings that are in force: from the environment, one file, and the table's defaults, checked as a whole.
///
/// Read once, in `main`; each part of the program then gets its own small value. There is no global.
public struct Settings: Sendable {
    /// Where a value came from.
    public enum Source: Sendable, Equatable, CustomStringConvertible {
        case `default`, environment, file(String), credential(String)

        public var description: String {
            switch self {
            case .default: "default"
            case .environment: "environment"
            case .file(let path): path
            case .credential(let path): "credential \(path)"
            }
        }
    }

    /// Everything that is wrong with the settings, one sentence each, so that it can be mended in one go.
    public struct Invalid: Error, Sendable, Equatable {
        public let problems: [String]

        public init(problems: [String]) { self.problems = problems }
    }

    /// The longest settings file, and the longest file that holds a secret.
    static let fileSizeMax = 65_536
    /// Where an installed system keeps its settings.
    static let installedFile = "/etc/skystead/skystead.env"

    private var values: [String: (value: Bytes, source: Source)] = [:]

    /// The value of `setting`.
    public subscript<Value>(_ setting: Setting<Value?>) -> Value? {
        values[setting.key].flatMap { setting.kind.parse($0.value) } ?? nil
    }

    /// The value of `setting`, or its default.
    public subscript<Value>(_ setting: Setting<Value>) -> Value {
        if let given = values[setting.key], let value = setting.kind.parse(given.value) { return value }
        guard let fallback = setting.fallback, let value = setting.kind.parse(Bytes(fallback)) else {
            // Unreachable: `SettingsTests` parses every default, and a setting without one is optional.
            preconditionFailure("the default of \(setting.key) is not of its own grammar")
        }
        return value
    }

    /// Where the value of the setting called `key` came from.
    public func source(of key: String) -> Source { values[key]?.source ?? .default }

    /// The files that hold a secret which is in force: nobody else may read them.
    public var filesWithSecrets: [String] {
        var paths: Set<String> = []
        for row in Self.rows where row.secret {
            if case .file(let path)? = values[row.key]?.source { paths.insert(path) }
        }
        return paths.sorted()
    }

    /// The same settings with `key` set to `value`, for tests and for tools that fix one thing.
    /// Throws `Invalid` when there is no such key or the value is not of its grammar.
    public func setting(_ key: String, to value: Bytes) throws(Invalid) -> Settings {
        guard let row = Self.rows.first(where: { $0.key == key }), row.accepts(value) else {
            throw Invalid(problems: ["\(key) cannot be set to that"])
        }
        var changed = self
        changed.values[key] = (value, .environment)
        return changed
    }

    /// The settings of this process. Call it before any other thread runs.
    public static func ofProcess() throws(Invalid) -> Settings {
        try load(environment: Environment.pairs) { path throws(SystemError) in
            Bytes(try Files.read(path, sizeMax: fileSizeMax))
        }
    }

    /// The settings of this process, with `path` for the settings file unless the environment names another.
    public static func ofProcess(file path: String) throws(Invalid) -> Settings {
        let given = Environment.pairs
        let named = given.contains { $0.0 == Bytes(file.key) }
        return try load(environment: named ? given : given + [(Bytes(file.key), Bytes(path))]) {
            path throws(SystemError) in Bytes(try Files.read(path, sizeMax: fileSizeMax))
        }
    }

    /// Reads `environment`, then the file that it names, then files that hold secrets; `read` gives a file's bytes.
    /// Throws `Invalid` with every problem at once.
    public static func load(
        environment: [(Bytes, Bytes)], read: @escaping (String) throws(SystemError) -> Bytes
    ) throws(Invalid) -> Settings {
        var loader = SettingsLoader(read: read)
        for (key, value) in environment where key.starts(with: "SKYSTEAD_") && !isScriptVariable(key) {
            loader.take(key, value, from: .environment)
        }
        loader.readSettingsFile()
        if let directory = environment.first(where: { $0.0 == "CREDENTIALS_DIRECTORY" })?.1 {
            loader.readCredentials(in: directory.description)
        }
        var settings = Settings()
        settings.values = loader.values
        let problems = loader.problems.isEmpty ? settings.contradictions : loader.problems
        guard problems.isEmpty else { throw Invalid(problems: problems) }
        return settings
    }

    /// Variables of the project's scripts and tests, which may stand in the environment beside the settings.
    static func isScriptVariable(_ key: Bytes) -> Bool {
        let names: [Bytes] = ["SKYSTEAD_SHARED_DIR", "SKYSTEAD_BUILD"]
        let prefixes: [Bytes] = ["SKYSTEAD_TEST_", "SKYSTEAD_POSTGRES_"]
        return names.contains(key) || prefixes.contains { key.starts(with: $0) }
    }

    /// Pairs that need each other, and values that are safe on one machine only.
    private var contradictions: [String] {
        var found: [String] = []
        func needs<A, B>(_ one: Setting<A?>, _ other: Setting<B?>) {
            if self[one] != nil, self[other] == nil { found.append("\(one.key) needs \(other.key)") }
        }
        needs(Self.smtpURL, Self.mailFrom)
        needs(Self.appViewURL, Self.appViewDID)
        needs(Self.appViewDID, Self.appViewURL)
        needs(Self.appViewImageURL, Self.appViewURL)
        if let image = self[Self.appViewImageURL]?.description, !image.contains("{did}") || !image.contains("{cid}") {
            found.append("SKYSTEAD_APPVIEW_IMAGE_URL must have {did} and {cid} in it")
        }
        needs(Self.moderationDID, Self.moderationURL)
        needs(Self.moderationURL, Self.moderationDID)
        needs(Self.reportServiceDID, Self.reportServiceURL)
        needs(Self.reportServiceURL, Self.reportServiceDID)
        needs(Self.s3Endpoint, Self.s3Bucket)
        needs(Self.s3Endpoint, Self.s3AccessKeyID)
        needs(Self.s3Endpoint, Self.s3SecretAccessKey)
        if self[Self.blobPlace] == "s3", self[Self.s3Endpoint] == nil {
            found.append("\(Self.blobPlace.key)=s3 needs \(Self.s3Endpoint.key)")
        }
        if let url = self[Self.publicURL], url.starts(with: "http://"), self[Self.host] != "localhost" {
            found.append("SKYSTEAD_PUBLIC_URL must be https:// unless SKYSTEAD_HOST is localhost")
        }
        if let key = self[Self.sealingKey], key.withBytes({ Hex.decode($0)?.count != 32 }) {
            found.append("SKYSTEAD_SEALING_KEY must be 64 hexadecimal digits")
        }
        return found
    }
}

extension Settings {
    /// One line a setting: key, value in force, source. Secrets are shown as `•••`.
    public var dump: String {
        Self.rows.map { row in
            let given = values[row.key]
            let shown =
                if row.secret { given.map { _ in "•••" } ?? "" } else { given?.value.description ?? row.fallback ?? "" }
            return "\(row.key)=\(shown)  # \(given?.source ?? .default)\n"
        }.joined()
    }
}

extension Settings {
    /// The settings that were given, as a settings file: for handing them on to another process of the same service.
    /// It holds secrets. A value that no such file can hold is left out.
    public var fileContents: [UInt8] {
        var out: [UInt8] = []
        for row in Self.rows where row.key != Self.file.key {
            guard let value = values[row.key]?.value,
                !value.contains(where: { $0 < 0x20 || [0x27, 0x5C, 0x24, 0x60].contains($0) })
            else { continue }
            out += Array("\(row.key)='".utf8) + value.array + Array("'\n".utf8)
        }
        return out
    }
}

/// Gathers values from all sources, and every problem met on the way.
struct SettingsLoader {
    let read: (String) throws(SystemError) -> Bytes
    var values: [String: (value: Bytes, source: Settings.Source)] = [:]
    var problems: [String] = []

    init(read: @escaping (String) throws(SystemError) -> Bytes) { self.read = read }

    /// Takes one `KEY=value`. A value that is there already wins: sources are read in order of precedence.
    mutating func take(_ key: Bytes, _ value: Bytes, from source: Settings.Source) {
        let name = key.description
        if let row = Settings.rows.first(where: { Bytes($0.key) == key }) {
            keep(row, value, from: source)
        } else if key.ends(with: "_FILE"),
            let row = Settings.rows.first(where: { $0.secret && Bytes($0.key) + "_FILE" == key })
        {
            readSecret(of: row, at: value.description, as: .file(value.description))
        } else {
            let nearest = Settings.rows.map(\.key).min {
                Self.distance(Array($0.utf8), key.array) < Self.distance(Array($1.utf8), key.array)
            }
            problems.append("\(name) (\(source)) is not a setting. Did you mean \(nearest ?? "something else")?")
        }
    }

    private mutating func keep(_ row: any SettingRow, _ value: Bytes, from source: Settings.Source) {
        guard values[row.key] == nil else { return }
        // An empty value means "as if it were not there": that is how a unit file takes a setting back.
        if value.isEmpty, row.fallback != nil || row.secret { return }
        guard row.accepts(value) else {
            let shown = row.secret ? "its value" : "'\(value)'"
            problems.append("\(row.key) (\(source)): \(shown) is not \(row.grammar)")
            return
        }
        values[row.key] = (value, source)
    }

    mutating func readSettingsFile() {
        let key = Settings.file.key
        let path: String
        if let named = values[key]?.value {
            guard !named.isEmpty else { return }
            path = named.description
        } else {
            path = Settings.installedFile
        }
        do throws(SystemError) {
            let bytes = try read(path)
            for (key, value) in lines(of: bytes, path) { take(key, value, from: .file(path)) }
        } catch {
            if values[key] != nil || error.errno != ENOENT { problems.append("\(key): \(error)") }
        }
    }

    /// systemd's LoadCredential= puts each secret into a file with the setting's name.
    mutating func readCredentials(in directory: String) {
        for row in Settings.rows where row.secret && values[row.key] == nil {
            let path = "\(directory)/\(row.key)"
            do throws(SystemError) {
                keep(row, Self.trimmed(try read(path)), from: .credential(path))
            } catch {
                if error.errno != ENOENT { problems.append("\(row.key): \(error)") }
            }
        }
    }

    private mutating func readSecret(of row: any SettingRow, at path: String, as source: Settings.Source) {
        do throws(SystemError) {
            keep(row, Self.trimmed(try read(path)), from: source)
        } catch {
            problems.append("\(row.key)_FILE: \(error)")
        }
    }

    /// The subset that a shell, systemd's EnvironmentFile= and this parser read alike: `KEY=value`, a value in
    /// single or double quotes or without, `#` at the beginning of a line, nothing escaped, nothing expanded.
    private mutating func lines(of bytes: Bytes, _ path: String) -> [(Bytes, Bytes)] {
        var found: [(Bytes, Bytes)] = []
        for (index, line) in bytes.split(on: 0x0A).enumerated() {
            let text = Self.withoutBlanks(line)
            if text.isEmpty || text.first == 0x23 { continue }
            let place = "\(path) line \(index + 1)"
            guard let equals = text.position(of: 0x3D), equals > 0 else {
                problems.append("\(place): expected KEY=value")
                continue
            }
            let key = text.upTo(equals)
            var value = text.from(equals + 1)
            if let quote = value.first, quote == 0x22 || quote == 0x27 {
                guard value.count >= 2, value.last == quote else {
                    problems.append("\(place): the quote is not closed")
                    continue
                }
                value = value.slice(1..<(value.count - 1))
                if value.contains(quote) {
                    problems.append("\(place): a quote inside quotes")
                    continue
                }
            }
            if value.contains(where: { $0 == 0x5C || $0 == 0x24 || $0 == 0x60 || $0 < 0x20 }) {
                problems.append(
                    "\(place): \\, $, ` and control bytes are not read alike everywhere; use a _FILE for such a secret")
                continue
            }
            if found.contains(where: { $0.0 == key }) {
                problems.append("\(place): \(key) is there twice")
                continue
            }
            if key == Bytes(Settings.file.key) {
                problems.append("\(place): \(key) can only be set in the environment")
                continue
            }
            found.append((key, value))
        }
        return found
    }

    private static func withoutBlanks(_ line: Bytes) -> Bytes {
        var range = 0..<line.count
        while let first = range.first, line[first] == 0x20 || line[first] == 0x09 {
            range = (first + 1)..<range.upperBound
        }
        while let last = range.last, [0x20, 0x09, 0x0D].contains(line[last]) { range = range.lowerBound..<last }
        return line.slice(range)
    }

    /// A secret's file without the line feed that editors put at its end.
    private static func trimmed(_ bytes: Bytes) -> Bytes {
        bytes.last == 0x0A ? bytes.upTo(bytes.count - 1) : bytes
    }

    /// The edit distance of two keys (Levenshtein), for "did you mean".
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let substituted = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
