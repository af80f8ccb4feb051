/// Counts of bytes as people read them.
public enum ByteCount {
    /// `999 B`, `1.5 KiB`, `12.0 MiB`: powers of 1,024, cut off after one decimal.
    public static func words(_ bytes: Int) -> String {
        guard bytes >= 1_024 else { return "\(bytes) B" }
        let units = ["KiB", "MiB", "GiB", "TiB"]
        // Tenths of a KiB; larger counts than an Int of tenths holds are no file's.
        var (tenths, unit) = (bytes / 1_024 * 10 + bytes % 1_024 * 10 / 1_024, 0)
        while tenths >= 10_240, unit + 1 < units.count {
            tenths /= 1_024
            unit += 1
        }
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}
