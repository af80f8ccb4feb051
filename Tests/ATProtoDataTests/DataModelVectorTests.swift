import ATProto
import Base
import Foundation
import Testing

@Suite("Data model vectors", .enabled(if: Vectors.areThere, "the shared vectors are not beside the checkout"))
struct DataModelVectorTests {
    @Test("fixtures: JSON to CBOR to CID, and back")
    func fixtures() throws {
        let rows = try Vectors.rows("data-model-fixtures.json")
        #expect(rows.count >= 3)
        for row in rows {
            let plain = try #require(row["json"])
            let value = try JSON.parse(Bytes(JSON.encode(plain)))
            let expected = try #require(row["cbor_base64"]?.text.flatMap { RadixEncoding.base64.decode($0) })
            let encoded = DAGCBOR.encode(value)
            #expect(encoded == expected)
            #expect(CID(hashing: encoded).text == row["cid"]?.text?.array)
            let decoded = try DAGCBOR.decode(Bytes(expected))
            #expect(decoded == value)
            // The tree's writer and the transcoder agree, and what they write reads as the same value.
            let json = JSON.encode(decoded)
            #expect(try JSON.parse(Bytes(json)) == value)
            var writer = JSONWriter()
            try writer.cbor(Bytes(expected))
            #expect(writer.finish() == json)
        }
    }

    @Test("valid rows")
    func valid() throws {
        let text = try Vectors.bytes("data-model/data-model-valid.json")
        // One row has 123.0, which is a float here and an integer where `integralFloats` is asked for.
        #expect(throws: JSONError.self) { try JSON.parsePlain(text) }
        let rows = try #require(try JSON.parse(text, integralFloats: true).array)
        #expect(rows.count >= 5)
        for row in rows {
            let value = try #require(row["json"])
            #expect(try DAGCBOR.decode(DAGCBOR.encode(value)) == value)
            #expect(try value.blobReferences.isEmpty)
        }
        #expect(rows[1]["json"]?["rcrd"]?["a"] == .integer(123))
    }

    @Test("invalid rows")
    func invalid() throws {
        let data = Data(try Vectors.bytes("data-model/data-model-invalid.json"))
        let rows = try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
        #expect(rows.count >= 12)
        for row in rows {
            let note = try #require(row["note"] as? String)
            let json = try JSONSerialization.data(withJSONObject: try #require(row["json"]), options: .fragmentsAllowed)
            // A record's three gates: it reads, it is a map, its blobs are blobs.
            let value = try? JSON.parse(Bytes([UInt8](json)))
            let blobs = try? value?.blobReferences
            #expect(value == nil || value?.entries == nil || blobs == nil, "\(note)")
        }
    }
}
