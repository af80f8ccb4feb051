import Testing

@testable import Authorization

@Suite struct ErrorTests {
    @Test func codesAreThoseOfTheSpecifications() {
        #expect(AuthorizationError.Code.allCases.allSatisfy { $0.rawValue.allSatisfy { $0 == "_" || $0.isLowercase } })
        #expect(Set(AuthorizationError.Code.allCases.map(\.rawValue)).count == AuthorizationError.Code.allCases.count)
    }
}
