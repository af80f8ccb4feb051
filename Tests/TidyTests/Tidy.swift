import Foundation

/// One file of the project's sources, as the checks see it.
struct SourceFile {
    /// From the root of the project, such as `Sources/Shared/Base/Bytes.swift`.
    let path: String
    let lines: [Substring]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    }

    /// A line without its comment and without what stands inside string literals, so that prose may name a banned call.
    static func code(_ line: Substring) -> String {
        var out = ""
        var inside = false
        var previous: Character = " "
        for character in line {
            if character == "\"", previous != "\\" { inside.toggle() }
            if !inside, character == "/", previous == "/" { return String(out.dropLast()) }
            if !inside { out.append(character) }
            previous = character
        }
        return out
    }
}

/// What is wrong, where.
struct Finding: Equatable, CustomStringConvertible {
    let place: String
    let message: String
    var description: String { "\(place): \(message)" }
}

/// The checks: functions from sources to findings, so that a planted fault can be shown to be found.
enum Tidy {
    /// Calls that are not allowed in Sources, and what to use.
    static let banned: [(call: String, instead: String)] = [
        ("try!", "throw, or prove it in a test"),
        ("as!", "a type that says so"),
        ("fatalError(", "throw a Failure, or preconditionFailure for a programming error"),
        ("Date()", "Base.Clock"),
        ("print(", "Base.Log; the skystead tool has Output"),
        ("String(format:", "interpolation: it links 44 MB of Foundation"),
        ("Process()", "posix_spawn: Process links 44 MB of Foundation"),
        ("URLSession", "Net.HTTPClient, which has the guards"),
        ("getenv(", "Base.Settings"),
        ("Ounchecked", "nothing: overflow must trap"),
    ]

    /// Files in which a banned call is the point.
    static let allowed: [String: Set<String>] = [
        // What systemd tells a service in its environment is no setting.
        "getenv(": [
            "Sources/Shared/Base/InheritedSockets.swift", "Sources/Shared/Base/Log.swift",
            "Sources/Shared/Base/ServiceManager.swift",
        ]
    ]

    static func bannedCalls(in files: [SourceFile]) -> [Finding] {
        files.flatMap { file in
            file.lines.enumerated().flatMap { number, line in
                let code = SourceFile.code(line)
                return banned.filter { allowed[$0.call]?.contains(file.path) != true && calls($0.call, code) }.map {
                    Finding(place: "\(file.path):\(number + 1)", message: "\($0.call) is banned; use \($0.instead)")
                }
            }
        }
    }

    /// Whether `name` occurs in `code` as a word of its own: not the end of a longer name, not a method of something.
    private static func calls(_ name: String, _ code: String) -> Bool {
        code.ranges(of: name).contains { range in
            guard range.lowerBound > code.startIndex else { return true }
            let before = code[code.index(before: range.lowerBound)]
            return !(before.isLetter || before.isNumber || before == "_" || before == ".")
        }
    }

    /// Words that a finished change does not hold, comments included.
    static func leftovers(in files: [SourceFile]) -> [Finding] {
        let words = ["FIXME", "TODO", "XXX", "HACK"]
        return each(files) { line in
            words.first { line.contains($0) }.map { "\($0): finish it before it lands" }
        }
    }

    /// `@unchecked Sendable` must have its reason in the comment above the declaration.
    static func uncheckedSendables(in files: [SourceFile]) -> [Finding] {
        var found: [Finding] = []
        for file in files {
            for (number, line) in file.lines.enumerated() where SourceFile.code(line).contains("@unchecked Sendable") {
                let above = number == 0 ? "" : file.lines[number - 1].drop { $0 == " " }
                if !above.hasPrefix("//") {
                    found.append(
                        Finding(
                            place: "\(file.path):\(number + 1)",
                            message: "@unchecked Sendable without its reason above; use Base.Guarded"))
                }
            }
        }
        return found
    }

    static let lineLengthMax = 120

    static func longLines(in files: [SourceFile]) -> [Finding] {
        each(files) { $0.count > lineLengthMax ? "longer than \(lineLengthMax) characters" : nil }
    }

    /// Foundation costs 13 to 57 MB of a static binary, and its types compare as Unicode.
    static func foundationImports(in files: [SourceFile]) -> [Finding] {
        each(files) { line in
            SourceFile.code(line).contains(#/import\s+(struct |class |func )?Foundation/#)
                ? "Foundation is not for Sources; use Glibc" : nil
        }
    }

    /// Paths of a developer's machine, which no file may hold.
    static func machinePaths(in files: [SourceFile]) -> [Finding] {
        each(files) { line in
            line.contains(#/(^|[\s"'=(])/(work|root|home/[a-z]|Users)//#) ? "a path of somebody's machine" : nil
        }
    }

    /// Each C library is imported by one target: the folder under Sources that holds the file. CSystem is our own
    /// code over the kernel's calls, not a library, and may be imported where it is declared as a dependency.
    static func cLibraryImporters(in files: [SourceFile]) -> [Finding] {
        var importers: [String: Set<String>] = [:]
        for file in files {
            for line in file.lines {
                guard
                    let match = SourceFile.code(line).firstMatch(
                        of: #/^\s*(?:@\w+\s+)?(?:\w+\s+)?import\s+(C[A-Z]\w+)/#)
                else { continue }
                importers[String(match.1), default: []].insert(target(of: file.path))
            }
        }
        return importers.sorted { $0.key < $1.key }.filter { $0.key != "CSystem" && $0.value.count > 1 }.map {
            Finding(place: $0.key, message: "imported by \($0.value.sorted().joined(separator: " and "))")
        }
    }

    /// Modules of the toolchain that any target may import.
    static let toolchain: Set<String> = ["Glibc", "Synchronization"]

    /// Every import of a source file is in its target's own list in Package.swift. SwiftPM's check lets a target import
    /// what one of its dependencies depends on: handlers would reach Storage through the domains.
    static func undeclaredImports(in files: [SourceFile], package: String) -> [Finding] {
        let targets = declaredTargets(package).sorted { $0.path.count > $1.path.count }
        var found: [Finding] = []
        for file in files {
            guard let target = targets.first(where: { file.path.hasPrefix("\($0.path)/") }) else { continue }
            for (number, line) in file.lines.enumerated() {
                let words = SourceFile.code(line).split(separator: " ")
                guard let at = words.firstIndex(of: "import"), at <= 2, at + 1 < words.count else { continue }
                let module = words[at + 1].split(separator: ".").first.map(String.init) ?? ""
                guard !toolchain.contains(module), !target.dependencies.contains(module) else { continue }
                found.append(
                    Finding(
                        place: "\(file.path):\(number + 1)",
                        message: "imports \(module), which Package.swift does not list for it"))
            }
        }
        return found
    }

    struct DeclaredTarget: Equatable {
        let path: String
        let dependencies: Set<String>
    }

    /// The targets under Sources and what Package.swift lists for each: `.shared("Name", […])`, and
    /// `name: "Name", dependencies: […], path: "…"`.
    static func declaredTargets(_ package: String) -> [DeclaredTarget] {
        func names(_ list: Substring) -> Set<String> { Set(list.matches(of: /"([^"]+)"/).map { String($0.output.1) }) }
        let shared = package.matches(of: /\.shared\(\s*"(\w+)",\s*\[([^\]]*)\]/).map {
            DeclaredTarget(path: "Sources/Shared/\($0.output.1)", dependencies: names($0.output.2))
        }
        let others = package.matches(
            of: /name:\s*"[^"]+",\s*dependencies:\s*\[([^\]]*)\],\s*path:\s*"(Sources\/[^"]+)"/
        ).map { DeclaredTarget(path: String($0.output.2), dependencies: names($0.output.1)) }
        return shared + others
    }

    /// A namespaced identifier of a method or a record type is written once; everything else refers to it.
    static func repeatedNSIDs(in files: [SourceFile]) -> [Finding] {
        var places: [String: [String]] = [:]
        for file in files {
            for (number, line) in file.lines.enumerated() {
                guard !line.drop(while: { $0 == " " }).hasPrefix("//") else { continue }
                for match in line.matches(
                    of: #/"((?:com\.atproto|app\.bsky|chat\.bsky)(?:\.[a-zA-Z]+){2,}(?:#[a-zA-Z]+)?)"/#)
                {
                    places[String(match.1), default: []].append("\(file.path):\(number + 1)")
                }
            }
        }
        return places.sorted { $0.key < $1.key }.filter { $0.value.count > 1 }.map {
            Finding(place: $0.value.joined(separator: ", "), message: "\($0.key) is spelled \($0.value.count) times")
        }
    }

    /// The one file that may ask for connections whose certificates nobody verifies: the doctor's, which judges them in
    /// looks of their own (D61).
    static let certificateJudge = "Sources/Workers/Control/Outside.swift"

    /// Everything that could turn the verifying of certificates off: in Net a value other than the default and the two
    /// options of curl, elsewhere any mention of the property.
    static func unverifiedCertificates(in files: [SourceFile]) -> [Finding] {
        files.filter { $0.path != certificateJudge }.flatMap { file in
            each([file]) { line in
                let code = SourceFile.code(line)
                let isDefault = code.contains(#/var verifiesCertificates = true$/#)
                let isRead = code.contains(
                    #/set\(CURLOPT_SSL_VERIFY(PEER|HOST), configuration\.verifiesCertificates \?/#)
                if file.path.hasPrefix("Sources/Shared/Net/"), isDefault || isRead { return nil }
                return code.contains(#/verifiesCertificates|SSL_VERIFY(PEER|HOST)|SSL_VERIFY_NONE/#)
                    ? "certificates may go unverified for the doctor alone (D61)" : nil
            }
        }
    }

    /// The permission to write to a repository is made where callers are checked, and nowhere else.
    static func grantMakers(in files: [SourceFile]) -> [String] {
        files.filter { file in
            file.lines.contains { calls("WriteGrant(", SourceFile.code($0)) }
        }.map(\.path)
    }

    private static func each(_ files: [SourceFile], _ check: (Substring) -> String?) -> [Finding] {
        files.flatMap { file in
            file.lines.enumerated().compactMap { number, line in
                check(line).map { Finding(place: "\(file.path):\(number + 1)", message: $0) }
            }
        }
    }

    /// `Sources/Shared/Base/X.swift` → `Sources/Shared/Base`: targets are three folders deep.
    private static func target(of path: String) -> String {
        path.split(separator: "/").dropLast().prefix(3).joined(separator: "/")
    }
}
