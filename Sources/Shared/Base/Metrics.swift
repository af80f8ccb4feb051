internal import Synchronization

/// A count that only grows, shared by threads.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    public init() {}

    public func add(_ amount: Int = 1) { count.wrappingAdd(amount, ordering: .relaxed) }

    public var value: Int { count.load(ordering: .relaxed) }
}

/// What a process tells its operator in numbers: parts register a writer, a scrape runs all of them.
public final class Metrics: Sendable {
    private let writers = Guarded<[@Sendable (inout MetricsText) -> Void]>([])

    public init() {}

    /// Adds a part's figures; `write` runs on the scraping thread, so it must be quick and take no long-held lock.
    public func register(_ write: @escaping @Sendable (inout MetricsText) -> Void) {
        writers.withLock { $0.append(write) }
    }

    /// Registers a counter and returns it. `name` ends in `_total`.
    public func counter(_ name: StaticString, help: StaticString) -> Counter {
        let counter = Counter()
        register { text in
            text.family(name, .counter, help: help)
            text.sample(name, value: counter.value)
        }
        return counter
    }

    /// Everything, in the Prometheus text format.
    public func text() -> [UInt8] {
        var text = MetricsText()
        for write in writers.withLock({ $0 }) { write(&text) }
        return text.bytes
    }
}

/// Writes the Prometheus text exposition format 0.0.4.
public struct MetricsText {
    public enum Kind: String { case counter, gauge, histogram, summary }

    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// Begins a family: its samples follow.
    public mutating func family(_ name: StaticString, _ kind: Kind, help: StaticString) {
        put("# HELP ")
        put(name)
        put(" ")
        put(help)
        put("\n# TYPE ")
        put(name)
        put(" ")
        bytes.append(contentsOf: kind.rawValue.utf8)
        put("\n")
    }

    public mutating func sample(
        _ name: StaticString, suffix: StaticString = "", _ labels: KeyValuePairs<StaticString, Bytes> = [:],
        value: Int
    ) {
        head(name, suffix, labels)
        bytes.append(contentsOf: String(value).utf8)
        put("\n")
    }

    /// A sample whose value is `microseconds`, written in seconds, the format's base unit.
    public mutating func sample(
        _ name: StaticString, suffix: StaticString = "", _ labels: KeyValuePairs<StaticString, Bytes> = [:],
        microseconds: Int
    ) {
        head(name, suffix, labels)
        bytes.append(contentsOf: Self.seconds(microseconds))
        put("\n")
    }

    /// A count of microseconds as a decimal number of seconds.
    public static func seconds(_ microseconds: Int) -> [UInt8] {
        let whole = Swift.max(0, microseconds)
        var out = Array(String(whole / 1_000_000).utf8)
        let fraction = String(whole % 1_000_000).utf8
        if whole % 1_000_000 == 0 { return out }
        out.append(0x2E)
        out.append(contentsOf: [UInt8](repeating: 0x30, count: 6 - fraction.count))
        out.append(contentsOf: fraction)
        while out.last == 0x30 { out.removeLast() }
        return out
    }

    private mutating func head(
        _ name: StaticString, _ suffix: StaticString, _ labels: KeyValuePairs<StaticString, Bytes>
    ) {
        put(name)
        put(suffix)
        if !labels.isEmpty {
            put("{")
            var isFirst = true
            for (label, value) in labels {
                if !isFirst { put(",") }
                isFirst = false
                put(label)
                put("=\"")
                escape(value)
                put("\"")
            }
            put("}")
        }
        put(" ")
    }

    private mutating func escape(_ value: Bytes) {
        for byte in value {
            switch byte {
            case 0x5C: put("\\\\")
            case 0x22: put("\\\"")
            case 0x0A: put("\\n")
            default: bytes.append(byte)
            }
        }
    }

    private mutating func put(_ text: StaticString) { text.withUTF8Buffer { bytes.append(contentsOf: $0) } }
}

/// Durations in buckets, for a Prometheus histogram. Any number of threads may add at once.
public final class DurationHistogram: Sendable {
    /// Upper bounds of the buckets, in microseconds.
    public static let bounds: [Int] = [
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    ]

    private struct Figures {
        /// Not cumulative, and one more for the rest.
        var buckets = [Int](repeating: 0, count: DurationHistogram.bounds.count + 1)
        var microseconds = 0
    }
    private let figures = Guarded(Figures())

    public init() {}

    public func add(microseconds: Int) {
        let bucket = Self.bounds.firstIndex { microseconds <= $0 } ?? Self.bounds.count
        figures.withLock { figures in
            figures.buckets[bucket] &+= 1
            figures.microseconds &+= microseconds
        }
    }

    /// Writes the family `name` with its one series.
    public func write(_ name: StaticString, help: StaticString, to text: inout MetricsText) {
        let figures = figures.withLock { $0 }
        text.family(name, .histogram, help: help)
        var total = 0
        for (index, bound) in Self.bounds.enumerated() {
            total &+= figures.buckets[index]
            text.sample(name, suffix: "_bucket", ["le": Bytes(MetricsText.seconds(bound))], value: total)
        }
        total &+= figures.buckets[Self.bounds.count]
        text.sample(name, suffix: "_bucket", ["le": "+Inf"], value: total)
        text.sample(name, suffix: "_sum", microseconds: figures.microseconds)
        text.sample(name, suffix: "_count", value: total)
    }
}
