internal import Base
internal import CCurl
internal import Glibc

/// What the address guard knows of a connection that is about to be made.
class GuardedConnection {
    /// The operator named this host: any address is admitted.
    let isPrivateAllowed: Bool
    var addressRefused = false

    init(isPrivateAllowed: Bool) { self.isPrivateAllowed = isPrivateAllowed }
}

/// The options of one use of a handle, and the C memory that they point to: what every protocol's have in common.
class CurlOptions {
    let handle: UnsafeMutableRawPointer
    let configuration: HTTPClient.Configuration
    var isGood = true
    private var lists: [UnsafeMutablePointer<curl_slist>] = []

    init(handle: CurlHandle, configuration: HTTPClient.Configuration) {
        self.handle = handle.easy
        self.configuration = configuration
    }

    /// After the exchange: curl copies strings, but neither lists nor bodies.
    func free() {
        lists.forEach { curl_slist_free_all($0) }
        lists = []
    }

    func set(_ option: CURLoption, _ value: Int) {
        isGood = CCurl_setLong(handle, option, value) == CURLE_OK && isGood
    }
    func set(_ option: CURLoption, _ value: Bytes) {
        let text = value.array + [0]
        let code = text.withUnsafeBytes { CCurl_setString(handle, option, $0.bindMemory(to: CChar.self).baseAddress) }
        isGood = code == CURLE_OK && isGood
    }
    func set(_ option: CURLoption, _ lines: [Bytes]) {
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines {
            let longer = (line.array + [0]).withUnsafeBytes {
                curl_slist_append(list, $0.bindMemory(to: CChar.self).baseAddress)
            }
            guard let longer else {
                curl_slist_free_all(list)
                return isGood = false
            }
            list = longer
        }
        guard let list else { return }
        lists.append(list)
        isGood = CCurl_setList(handle, option, list) == CURLE_OK && isGood
    }

    /// The guards of reliability rows C1–C5: one protocol, nothing from the environment, certificates checked, the
    /// address decided where the socket is made, and a deadline. `connection` must outlive the use of the handle.
    func setGuards(
        _ connection: GuardedConnection, protocol name: Bytes, host: Bytes, port: Int, milliseconds: Int
    ) {
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_PROTOCOLS_STR, name)
        set(CURLOPT_PROXY, "")
        set(CURLOPT_NOPROXY, "*")
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
        set(CURLOPT_SSL_VERIFYPEER, configuration.verifiesCertificates ? 1 : 0)
        set(CURLOPT_SSL_VERIFYHOST, configuration.verifiesCertificates ? 2 : 0)
        set(CURLOPT_TIMEOUT_MS, milliseconds)
        set(CURLOPT_CONNECTTIMEOUT_MS, min(milliseconds, HTTPClient.connectMilliseconds))
        // CAPATH keeps its default, the system's hashed directory, so this adds to it.
        if let file = configuration.extraCAFile { set(CURLOPT_CAINFO, file) }
        if let address = configuration.hostOverrides[host] {
            set(CURLOPT_RESOLVE, [host + ":" + Bytes(String(port)) + ":" + address])
        }
        let context = Unmanaged.passUnretained(connection).toOpaque()
        let results = [
            CCurl_setOpenSocketFunction(handle, openGuardedSocket),
            CCurl_setPointer(handle, CURLOPT_OPENSOCKETDATA, context),
        ]
        isGood = results.allSatisfy { $0 == CURLE_OK } && isGood
    }
}

/// The address guard: the last code before a socket exists. What it refuses never gets a packet.
private func openGuardedSocket(
    _ context: UnsafeMutableRawPointer?, _ purpose: curlsocktype, _ address: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let context, let address else { return CCurl_socketBad }
    let connection = Unmanaged<GuardedConnection>.fromOpaque(context).takeUnretainedValue()
    if !connection.isPrivateAllowed {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = Int(CCurl_addressBytes(address, &bytes))
        // One refused address ends the exchange: a name with a private address among its answers is an attack.
        guard !connection.addressRefused, GlobalAddress.allows([UInt8](bytes.prefix(count))) else {
            connection.addressRefused = true
            return CCurl_socketBad
        }
    }
    return socket(
        address.pointee.family, address.pointee.socktype | Int32(SOCK_CLOEXEC.rawValue), address.pointee.protocol)
}
