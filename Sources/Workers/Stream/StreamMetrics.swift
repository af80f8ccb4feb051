public import Base

extension StreamCounters {
    /// Writes them as Prometheus families.
    public func write(to text: inout MetricsText) {
        text.family("skystead_stream_subscribers", .gauge, help: "Subscribers now, live and catching up.")
        text.sample("skystead_stream_subscribers", value: subscribers)
        text.family("skystead_stream_connections_total", .counter, help: "Connections that were accepted.")
        text.sample("skystead_stream_connections_total", value: connections)
        text.family(
            "skystead_stream_refusals_total", .counter, help: "Connections that did not become subscriptions.")
        text.sample("skystead_stream_refusals_total", value: refusals)
        text.family("skystead_stream_closes_total", .counter, help: "Subscriptions that ended, by reason.")
        let others = consumersTooSlow + protocolErrors + silent + toldOfRestart
        let reasons: [(Bytes, Int)] = [
            ("client", max(0, ended - others)), ("too_slow", consumersTooSlow), ("protocol", protocolErrors),
            ("no_pong", silent), ("restart", toldOfRestart),
        ]
        for (reason, count) in reasons { text.sample("skystead_stream_closes_total", ["reason": reason], value: count) }
        text.family("skystead_stream_subscription_duration_seconds", .summary, help: "How long subscriptions lasted.")
        text.sample(
            "skystead_stream_subscription_duration_seconds", suffix: "_sum", microseconds: endedMicroseconds)
        text.sample("skystead_stream_subscription_duration_seconds", suffix: "_count", value: ended)
        text.family("skystead_stream_frames_total", .counter, help: "Events that were sent, to each subscriber.")
        text.sample("skystead_stream_frames_total", value: framesSent)
        text.family("skystead_stream_bytes_total", .counter, help: "Bytes that were sent.")
        text.sample("skystead_stream_bytes_total", value: bytesSent)
        text.family("skystead_stream_events_total", .counter, help: "Events that were read to be sent, each once.")
        text.sample("skystead_stream_events_total", value: eventsRead)
        text.family("skystead_stream_history_reads_total", .counter, help: "Reads of older events.")
        text.sample("skystead_stream_history_reads_total", value: historyReads)
        text.family("skystead_stream_source_errors_total", .counter, help: "Reads that the database refused.")
        text.sample("skystead_stream_source_errors_total", value: sourceErrors)
        text.family("skystead_stream_newest_seq", .gauge, help: "The number of the newest event.")
        text.sample("skystead_stream_newest_seq", value: newestSeq)
        text.family(
            "skystead_stream_lag_events", .gauge,
            help: "How far the subscriber that is furthest behind is behind, in numbers of events.")
        text.sample("skystead_stream_lag_events", value: max(0, newestSeq - slowestSeq))
    }
}
