public import Base

/// What the writers of one process have done.
public final class StoreFigures: Sendable {
    let commits = Counter()
    let bodies = Counter()
    /// Batches of which nothing was kept because the transaction as a whole was lost.
    let failures = Counter()
    private let durations = DurationHistogram()

    /// A batch of `bodies` is durable; it took that long since its transaction began.
    func recordCommit(bodies count: Int, nanoseconds: UInt64) {
        commits.add()
        bodies.add(count)
        durations.add(microseconds: Int(clamping: nanoseconds / 1_000))
    }

    /// Writes them; `waiting` is how many write transactions wait for their turn.
    func write(waiting: Int, to text: inout MetricsText) {
        text.family("skystead_store_writes_total", .counter, help: "Write transactions that became durable.")
        text.sample("skystead_store_writes_total", value: bodies.value)
        text.family(
            "skystead_store_commits_total", .counter,
            help: "Durable commits: the mean batch is writes divided by commits.")
        text.sample("skystead_store_commits_total", value: commits.value)
        text.family("skystead_store_commit_failures_total", .counter, help: "Commits that were lost as a whole.")
        text.sample("skystead_store_commit_failures_total", value: failures.value)
        text.family("skystead_store_writes_waiting", .gauge, help: "Write transactions that wait for their turn.")
        text.sample("skystead_store_writes_waiting", value: waiting)
        durations.write(
            "skystead_store_commit_duration_seconds", help: "From the beginning of a batch until it is durable.",
            to: &text)
    }
}

/// A database that can say what it has done.
public protocol MeteredDatabase: Database {
    /// Writes the figures of this process's writers.
    func writeFigures(to text: inout MetricsText)
}

extension SQLite: MeteredDatabase {
    public func writeFigures(to text: inout MetricsText) {
        writer.figures.write(waiting: writer.waitingCount, to: &text)
    }
}

extension Postgres: MeteredDatabase {
    public func writeFigures(to text: inout MetricsText) {
        writer.figures.write(waiting: writer.waitingCount, to: &text)
    }
}
