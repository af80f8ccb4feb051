/// What moderation can refuse.
public enum ModerationError: Error, Equatable, Sendable {
    case reportNotFound(Int)
    /// What is stored is not what this program writes.
    case corrupt(String)
}
