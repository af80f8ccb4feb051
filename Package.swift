// swift-tools-version:6.2
import PackageDescription

// Every target is declared once, below, with the whole list of what it may import (ARCHITECTURE.md has the layers).
// Build with `--explicit-target-dependency-import-check error`: without it SwiftPM lets a target import
// any module of the package that happens to be built already. The scripts always pass it.

let package = Package(
    name: "skystead",
    products: [
        .executable(name: "skystead-fcgi", targets: ["skystead-fcgi"]),
        .executable(name: "skystead-worker", targets: ["skystead-worker"]),
        .executable(name: "skystead", targets: ["skystead"]),
    ],
    targets: [
        // MARK: C libraries (Debian packages). One Swift target imports each.
        .library("CFCGI", pkgConfig: "fcgi", package: "libfcgi-dev"),
        .library("CSQLite", pkgConfig: "sqlite3", package: "libsqlite3-dev"),
        .library("CPostgres", pkgConfig: "libpq", package: "libpq-dev"),
        .library("COpenSSL", pkgConfig: "openssl", package: "libssl-dev"),
        .library("CSecp256k1", pkgConfig: "libsecp256k1", package: "libsecp256k1-dev"),
        .library("CCurl", pkgConfig: "libcurl", package: "libcurl4-openssl-dev"),
        .library("CWslay", pkgConfig: "libwslay", package: "libwslay-dev"),
        .library("CCares", pkgConfig: "libcares", package: "libc-ares-dev"),
        .target(name: "CSystem", path: "Sources/Shared/C/CSystem"),

        // MARK: Layer 0
        .shared("Base", ["CSystem"]),

        // MARK: Layer 1, foundations
        .shared("Crypto", ["Base", "COpenSSL", "CSecp256k1"]),
        .shared("ATProto", ["Base", "Crypto"]),
        .shared("Storage", ["Base", "CSQLite", "CPostgres", "CSystem"]),
        .shared("Net", ["Base", "Crypto", "CCurl", "CWslay", "CCares"]),
        .shared("Web", ["Base", "Storage"]),
        .target(name: "FastCGI", dependencies: ["Base", "CFCGI", "CSystem", "Web"], path: "Sources/FCGIHost/FastCGI"),

        // MARK: Layer 2, domains: never each other. Hosting is where two of them share a transaction.
        .shared("Identity", ["ATProto", "Base", "Crypto", "Net", "Storage"]),
        .shared("Accounts", ["ATProto", "Base", "Crypto", "Storage"]),
        .shared("Mail", ["ATProto", "Base", "Crypto", "Net", "Storage", "Web"]),
        .shared("Repos", ["ATProto", "Base", "Crypto", "Storage"]),
        .shared("Relays", ["ATProto", "Base", "Net", "Storage"]),
        .shared("Lexicons", ["ATProto", "Base", "Crypto", "Storage"]),
        .shared("Moderation", ["ATProto", "Base", "Storage"]),
        .shared("Authorization", ["ATProto", "Base", "Crypto", "Net", "Storage"]),
        .shared(
            "Hosting",
            [
                "ATProto", "Accounts", "Base", "Crypto", "Identity", "Mail", "Moderation", "Net", "Repos", "Storage",
                "Web",
            ]),

        // MARK: Layer 3, surfaces: never each other
        .target(
            name: "XRPCHandlers",
            dependencies: [
                "ATProto", "Accounts", "Base", "Crypto", "Hosting", "Identity", "Lexicons", "Moderation", "Net",
                "Repos",
                "Web",
            ],
            path: "Sources/Handlers/XRPC"),
        .target(
            name: "AdminHandlers",
            dependencies: [
                "ATProto", "Accounts", "Base", "Crypto", "Hosting", "Identity", "Mail", "Moderation", "Relays", "Repos",
                "Web",
            ],
            path: "Sources/Handlers/Admin"),
        .target(
            name: "Stream", dependencies: ["ATProto", "Base", "CSystem", "Net", "Repos", "Storage"],
            path: "Sources/Workers/Stream"
        ),

        // MARK: Layer 4, assembly: no logic
        .shared(
            "Assembly",
            [
                "ATProto", "Accounts", "AdminHandlers", "Base", "CSystem", "Crypto", "Hosting", "Identity", "Lexicons",
                "Mail", "Moderation", "Net", "Relays", "Repos", "Storage", "Stream", "Web", "XRPCHandlers",
            ]),
        .executableTarget(
            name: "skystead-fcgi", dependencies: ["Assembly", "Base", "FastCGI", "Web"], path: "Sources/FCGIHost/Host"),
        .executableTarget(
            name: "skystead-worker", dependencies: ["Assembly", "Base", "Stream"], path: "Sources/Workers/Main"),
        .executableTarget(
            name: "skystead",
            dependencies: [
                "ATProto", "Accounts", "Assembly", "Base", "CSystem", "Crypto", "Hosting", "Identity", "Mail",
                "Moderation", "Net", "Relays", "Repos", "Storage",
            ],
            path: "Sources/Workers/Control"),

        // MARK: Tests of Base
        .testTarget(name: "BaseTests", dependencies: ["Base"]),

        // MARK: Tests of Crypto
        .testTarget(name: "CryptoTests", dependencies: ["Base", "Crypto"]),

        // MARK: Tests of ATProto data
        .testTarget(name: "ATProtoDataTests", dependencies: ["ATProto", "Base"]),

        // MARK: Tests of ATProto repositories
        .testTarget(name: "ATProtoRepoTests", dependencies: ["ATProto", "Base", "Crypto"]),

        // MARK: Tests of Storage
        .target(name: "ChildProcess", path: "Tests/Support/ChildProcess"),
        .target(name: "TestSupport", dependencies: ["Base", "Storage"], path: "Tests/Support/TestSupport"),
        .target(name: "CFaultVFS", path: "Tests/Support/CFaultVFS"),
        .executableTarget(
            name: "storage-crash-child", dependencies: ["Base", "Storage"], path: "Tests/StorageCrashChild"),
        .testTarget(
            name: "StorageTests",
            dependencies: ["Base", "CFaultVFS", "ChildProcess", "Storage", "TestSupport", "storage-crash-child"],
            path: "Tests/StorageTests"),
        .testTarget(
            name: "BudgetTests", dependencies: ["Base", "Storage", "TestSupport", "Web"], path: "Tests/BudgetTests"),

        // MARK: Tests of Net and Stream
        .testTarget(name: "NetTests", dependencies: ["Base", "ChildProcess", "Net"], path: "Tests/NetTests"),
        .testTarget(name: "StreamTests", dependencies: ["Base", "Net", "Stream"], path: "Tests/StreamTests"),

        // MARK: Tests of Web and FastCGI
        .target(
            name: "ExchangeSupport", dependencies: ["Base", "CSystem", "FastCGI", "Web"],
            path: "Tests/Support/ExchangeSupport"),
        .executableTarget(
            name: "host-fixture", dependencies: ["Base", "ExchangeSupport", "FastCGI"], path: "Tests/HostFixture"),
        .executableTarget(
            name: "bench-empty-responder", dependencies: ["Base", "FastCGI", "Web"], path: "Tests/Bench/EmptyResponder"),
        .testTarget(
            name: "FastCGITests",
            dependencies: ["Base", "CSystem", "ChildProcess", "ExchangeSupport", "FastCGI", "Web", "host-fixture"]),
        .testTarget(name: "WebTests", dependencies: ["Base", "Web"]),

        // MARK: Tests of Identity, Accounts, Hosting
        .testTarget(
            name: "AccountsTests",
            dependencies: [
                "ATProto", "Accounts", "Base", "ChildProcess", "Crypto", "Identity", "Net", "Storage", "TestSupport",
            ]),

        // MARK: Tests of Mail
        .testTarget(
            name: "MailTests", dependencies: ["ATProto", "Base", "Crypto", "Mail", "Net", "Storage", "TestSupport"]),

        // MARK: Tests of Repos
        .testTarget(
            name: "ReposTests", dependencies: ["ATProto", "Base", "Crypto", "Repos", "Storage", "TestSupport"]),

        // MARK: Tests of Relays
        .testTarget(name: "RelaysTests", dependencies: ["Base", "Net", "Relays", "Storage", "TestSupport"]),
        // MARK: Tests of Lexicons
        .testTarget(
            name: "LexiconsTests", dependencies: ["ATProto", "Base", "Crypto", "Lexicons", "Storage", "TestSupport"]),

        // MARK: Tests of Moderation
        .testTarget(
            name: "ModerationTests", dependencies: ["ATProto", "Base", "Moderation", "Storage", "TestSupport"]),

        // MARK: Tests of Authorization
        .testTarget(
            name: "AuthorizationTests",
            dependencies: ["ATProto", "Authorization", "Base", "Crypto", "Net", "Storage", "TestSupport"]),

        // MARK: Tests of XRPC
        .testTarget(
            name: "XRPCTests",
            dependencies: [
                "ATProto", "Accounts", "Base", "Crypto", "ExchangeSupport", "FastCGI", "Hosting", "Identity",
                "Lexicons",
                "Mail", "Moderation", "Net", "Repos", "Storage", "TestSupport", "Web", "XRPCHandlers",
            ]),

        // MARK: Tests of the administrator's pages
        .testTarget(
            name: "AdminTests",
            dependencies: [
                "ATProto", "Accounts", "AdminHandlers", "Base", "Crypto", "Hosting", "Identity", "Mail", "Moderation",
                "Relays", "Repos", "Storage", "TestSupport", "Web",
            ]),

        // MARK: Tests of Control and Assembly
        .testTarget(name: "ControlTests", dependencies: ["Assembly", "Base", "skystead"]),

        // MARK: Tests of the whole: end to end, tidy, fuzz, bench
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "ATProto", "Authorization", "Base", "Crypto", "FastCGI", "Identity", "Lexicons", "Net", "Web",
            ],
            path: "Tests/FuzzTests"),
        .executableTarget(
            name: "bench-stream", dependencies: ["Base", "CSystem", "Net", "Stream"], path: "Tests/Bench/Stream"),
        .testTarget(name: "TidyTests"),
        .executableTarget(
            name: "bench-core", dependencies: ["ATProto", "Base", "Crypto", "Lexicons"], path: "Tests/Bench/Core"),
    ],
    swiftLanguageModes: [.v6]
)

extension Target {
    /// A library under `Sources/Shared/<name>`.
    static func shared(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
        .target(name: name, dependencies: dependencies, path: "Sources/Shared/\(name)")
    }

    /// A C library of Debian's, with its module map under `Sources/Shared/C/<name>`.
    static func library(_ name: String, pkgConfig: String, package: String) -> Target {
        .systemLibrary(
            name: name, path: "Sources/Shared/C/\(name)", pkgConfig: pkgConfig, providers: [.apt([package])])
    }
}

for target in package.targets where target.type != .system && !target.name.hasPrefix("C") {
    target.swiftSettings = [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .treatAllWarnings(as: .error),
    ]
}
