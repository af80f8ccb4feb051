import Foundation
import Net
import Testing

@testable import Base
@testable import skystead

/// What `up` runs from time to time is what the shipped timers start.
@Suite struct TimetableTests {
    static let units = WebServerTests.conf.appending(path: "systemd")

    /// The values of `key` in a unit.
    static func values(_ key: String, in unit: String) throws -> [String] {
        let text = try String(contentsOf: units.appending(path: unit), encoding: .utf8)
        return text.split(separator: "\n").filter { $0.hasPrefix("\(key)=") }.map {
            String($0.dropFirst(key.count + 1))
        }
    }

    /// Seconds of the two forms that the units use: `hourly`, and every so many minutes of the hour.
    static func seconds(ofCalendar text: String) -> Int? {
        if text == "hourly" { return 3_600 }
        guard text.hasPrefix("*:0/"), let minutes = Int(text.dropFirst(4)) else { return nil }
        return minutes * 60
    }

    static func seconds(ofSpan text: String) -> Int? {
        for (unit, factor) in [("min", 60), ("s", 1)] where text.hasSuffix(unit) {
            return Int(text.dropLast(unit.count)).map { $0 * factor }
        }
        return nil
    }

    @Test func everyTimerHasItsRow() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.units.path)
        let timers = files.filter { $0.hasSuffix(".timer") }.map { String($0.dropLast(6)) }
        #expect(timers.count >= 3)
        #expect(Set(timers) == Set(TimedPlan.all.map(\.unit)))
        #expect(Set(TimedPlan.all.map { $0.words[0] }).count == TimedPlan.all.count, "their logs have one name")
    }

    @Test(arguments: TimedPlan.all.map(\.unit)) func aRowIsAsItsUnits(_ unit: String) throws {
        let row = try #require(TimedPlan.all.first { $0.unit == unit })
        let calendar = try Self.values("OnCalendar", in: "\(unit).timer")
        #expect(calendar.map(Self.seconds(ofCalendar:)) == [row.everySeconds])
        #expect(try Self.values("ExecStart", in: "\(unit).service") == ["/usr/lib/skystead/\(row.name)"])
        let limit = try Self.values("TimeoutStartSec", in: "\(unit).service")
        #expect(limit.map(Self.seconds(ofSpan:)) == [row.limitSeconds])
    }

    @Test(
        arguments: [
            ("just now", 1_000, 1_000, false), ("a second too early", 1_000, 4_599, false), ("due", 1_000, 4_600, true),
            ("long due", 1_000, 90_000, true), ("never", nil, 1_000, true),
            ("the clock was set back", 9_000, 1_000, true),
        ] as [(String, Int64?, Int64, Bool)]) func due(_ name: String, _ last: Int64?, _ now: Int64, _ isDue: Bool)
    {
        #expect(Timetable.isDue(last: last, now: now, everySeconds: 3_600) == isDue, "\(name)")
    }
}

/// A process that is stopped is not killed before it could finish what it had begun.
@Suite struct StopTimesTests {
    /// What each service may have to finish, in seconds.
    static let needs: [(unit: String, seconds: Int)] = [
        ("skystead-xrpc", Settings.drainDefault), ("skystead-admin", Settings.drainDefault),
        ("skystead-mail", SMTPClient.deadlineMilliseconds / 1_000),
    ]

    @Test(arguments: needs) func theUnitsWaitLongEnough(_ unit: String, _ seconds: Int) throws {
        let limit = try TimetableTests.values("TimeoutStopSec", in: "\(unit).service")
        let given = try #require(limit.compactMap(TimetableTests.seconds(ofSpan:)).first)
        #expect(limit.count == 1 && given >= seconds + Up.stopMarginSeconds, "\(given)")
    }
}

extension Settings {
    fileprivate static var drainDefault: Int { Settings()[Settings.drainSeconds] }
}
