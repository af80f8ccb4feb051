import Foundation
import Testing

/// Checks of the source text itself, and of the checks: each one is shown a fault that it must find.
@Suite struct TidyTests {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized

    /// Every file under `folder` that ends in one of `endings`.
    static func files(_ folder: String, _ endings: [String]) -> [SourceFile] {
        let base = root.appending(path: folder)
        let names = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return names.sorted().filter { name in endings.contains { name.hasSuffix($0) } }.compactMap { name in
            (try? String(contentsOf: base.appending(path: name), encoding: .utf8)).map {
                SourceFile(path: "\(folder)/\(name)", text: $0)
            }
        }
    }

    static let sources = files("Sources", [".swift"])
    static let c = files("Sources", [".c", ".h", ".modulemap"])
    static let tests = files("Tests", [".swift", ".py"])
    static let others = ["conf", "scripts", "docs"].flatMap { files($0, [""]) }

    @Test func thereAreSources() { #expect(Self.sources.count > 20) }

    @Test func noBannedCalls() { #expect(Tidy.bannedCalls(in: Self.sources) == []) }
    @Test func noLeftovers() { #expect(Tidy.leftovers(in: Self.sources + Self.c + Self.others) == []) }
    @Test func everyUncheckedSendableSaysWhy() { #expect(Tidy.uncheckedSendables(in: Self.sources) == []) }
    @Test func noLongLines() { #expect(Tidy.longLines(in: Self.sources + Self.c) == []) }
    @Test func noFoundation() { #expect(Tidy.foundationImports(in: Self.sources) == []) }
    @Test func noMachinePaths() {
        #expect(Tidy.machinePaths(in: Self.sources + Self.c + Self.tests + Self.others) == [])
    }
    @Test func aCLibraryHasOneImporter() { #expect(Tidy.cLibraryImporters(in: Self.sources) == []) }
    @Test func aTargetImportsWhatItDeclares() throws {
        let package = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
        let targets = Tidy.declaredTargets(package)
        #expect(targets.count >= 16, "the list in Package.swift is not read: \(targets.map(\.path))")
        #expect(Tidy.undeclaredImports(in: Self.sources, package: package) == [])
        let planted = SourceFile(path: "Sources/Handlers/XRPC/Planted.swift", text: "internal import Storage")
        #expect(Tidy.undeclaredImports(in: [planted], package: package).count == 1)
        let allowed = SourceFile(path: "Sources/Handlers/XRPC/Planted.swift", text: "public import Web\nimport Glibc")
        #expect(Tidy.undeclaredImports(in: [allowed], package: package) == [])
    }

    @Test func anNSIDIsSpelledOnce() { #expect(Tidy.repeatedNSIDs(in: Self.sources) == []) }

    @Test func onlyTheDoctorLeavesCertificatesUnverified() {
        #expect(Tidy.unverifiedCertificates(in: Self.sources + Self.c) == [])
        // The doctor does, in the file that is named: else the check would look at nothing.
        let judge = Self.sources.filter { $0.path == Tidy.certificateJudge }
        #expect(judge.flatMap(\.lines).filter { $0.contains("verifiesCertificates = false") }.count == 1)
    }

    @Test func grantsAreMadeInOneFile() {
        #expect(Tidy.grantMakers(in: Self.sources).count <= 1, "\(Tidy.grantMakers(in: Self.sources))")
    }

    // MARK: The checks find what is planted

    struct Planted: CustomTestStringConvertible, Sendable {
        let name: String
        let text: String
        let check: @Sendable ([SourceFile]) -> [Finding]
        let isFound: Bool
        var testDescription: String { name }
    }

    static let planted: [Planted] = [
        Planted(name: "try!", text: "let a = try! load()", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "try! in a comment", text: "// never try! this", check: Tidy.bannedCalls, isFound: false),
        Planted(name: "try! in a string", text: #"let a = "try! it""#, check: Tidy.bannedCalls, isFound: false),
        Planted(name: "try! after a string", text: #"f("a\"b", try! g())"#, check: Tidy.bannedCalls, isFound: true),
        Planted(name: "try?", text: "let a = try? load()", check: Tidy.bannedCalls, isFound: false),
        Planted(name: "as!", text: "let a = b as! Int", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "fatalError", text: "fatalError(\"no\")", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "Date()", text: "let now = Date()", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "print", text: "    print(a)", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "a method called print", text: "output.print(a)", check: Tidy.bannedCalls, isFound: false),
        Planted(name: "String(format:)", text: "String(format: a, b)", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "URLSession", text: "URLSession.shared", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "getenv", text: "getenv(\"X\")", check: Tidy.bannedCalls, isFound: true),
        Planted(name: "to do", text: "// TO" + "DO later", check: Tidy.leftovers, isFound: true),
        Planted(
            name: "unchecked without a reason", text: "\nfinal class A: @unchecked Sendable {}",
            check: Tidy.uncheckedSendables, isFound: true),
        Planted(
            name: "unchecked with a reason", text: "/// Immutable after init.\nfinal class A: @unchecked Sendable {}",
            check: Tidy.uncheckedSendables, isFound: false),
        Planted(
            name: "121 characters", text: String(repeating: "a", count: 121), check: Tidy.longLines, isFound: true),
        Planted(
            name: "120 characters", text: String(repeating: "a", count: 120), check: Tidy.longLines, isFound: false),
        Planted(name: "Foundation", text: "internal import Foundation", check: Tidy.foundationImports, isFound: true),
        Planted(name: "Glibc", text: "internal import Glibc", check: Tidy.foundationImports, isFound: false),
        Planted(name: "a home", text: "let a = \"/" + "root/x\"", check: Tidy.machinePaths, isFound: true),
        Planted(name: "a path of the product", text: "let a = \"/etc/x\"", check: Tidy.machinePaths, isFound: false),
        Planted(
            name: "certificates unverified", text: "configuration.verifiesCertificates = false",
            check: Tidy.unverifiedCertificates, isFound: true),
        Planted(
            name: "certificates as somebody says", text: "configuration.verifiesCertificates = isStrict",
            check: Tidy.unverifiedCertificates, isFound: true),
        Planted(
            name: "certificates by key path", text: "configuration[keyPath: \\.verifiesCertificates] = no",
            check: Tidy.unverifiedCertificates, isFound: true),
        Planted(
            name: "curl's own option", text: "set(CURLOPT_SSL_VERIFYPEER, 0)", check: Tidy.unverifiedCertificates,
            isFound: true),
        Planted(
            name: "certificates in a comment", text: "// verifiesCertificates = false here would be wrong",
            check: Tidy.unverifiedCertificates, isFound: false),
        Planted(
            name: "an NSID twice", text: "let a = \"com.atproto.a.b\"\nlet c = [\"com.atproto.a.b\"]",
            check: Tidy.repeatedNSIDs, isFound: true),
        Planted(
            name: "two parts of one lexicon", text: "let a = \"com.atproto.a.b#c\"\nlet c = \"com.atproto.a.b#d\"",
            check: Tidy.repeatedNSIDs, isFound: false),
        Planted(
            name: "two NSIDs", text: "let a = \"com.atproto.a.b\"\nlet c = \"com.atproto.a.c\"",
            check: Tidy.repeatedNSIDs, isFound: false),
        Planted(
            name: "an NSID in a comment", text: "let a = \"com.atproto.a.b\"\n/// \"com.atproto.a.b\"",
            check: Tidy.repeatedNSIDs, isFound: false),
    ]

    @Test(arguments: planted) func theCheckFindsWhatIsPlanted(_ row: Planted) {
        let findings = row.check([SourceFile(path: "Sources/Shared/Planted/Planted.swift", text: row.text)])
        #expect(findings.isEmpty == !row.isFound, "\(findings)")
    }

    @Test(
        arguments: [
            ("the default", "Sources/Shared/Net/A.swift", "    public var verifiesCertificates = true", 0),
            ("another default", "Sources/Shared/Net/A.swift", "    public var verifiesCertificates = false", 1),
            ("set in Net", "Sources/Shared/Net/A.swift", "    configuration.verifiesCertificates = false", 1),
            (
                "curl as the configuration says", "Sources/Shared/Net/A.swift",
                "set(CURLOPT_SSL_VERIFYHOST, configuration.verifiesCertificates ? 2 : 0)", 0
            ),
            ("curl otherwise", "Sources/Shared/Net/A.swift", "set(CURLOPT_SSL_VERIFYHOST, 0)", 1),
            ("the doctor", Tidy.certificateJudge, "configuration.verifiesCertificates = false", 0),
            ("beside the doctor", "Sources/Workers/Control/A.swift", "configuration.verifiesCertificates = false", 1),
        ]) func whoMayLeaveCertificatesUnverified(_ name: String, _ path: String, _ text: String, _ count: Int)
    {
        #expect(Tidy.unverifiedCertificates(in: [SourceFile(path: path, text: text)]).count == count, "\(name)")
    }

    @Test func twoImportersOfALibraryAreFound() {
        let one = SourceFile(path: "Sources/Shared/Storage/A.swift", text: "internal import CSQLite")
        let two = SourceFile(path: "Sources/Shared/Repos/B.swift", text: "import CSQLite")
        let same = SourceFile(path: "Sources/Shared/Storage/C.swift", text: "internal import CSQLite")
        #expect(Tidy.cLibraryImporters(in: [one, two]).count == 1)
        #expect(Tidy.cLibraryImporters(in: [one, same]) == [])
    }

    @Test func twoMakersOfAGrantAreFound() {
        let one = SourceFile(path: "a", text: "let grant = WriteGrant(checked: did)")
        let two = SourceFile(path: "b", text: "return WriteGrant(checked: other)")
        #expect(Tidy.grantMakers(in: [one, two]) == ["a", "b"])
    }
}
