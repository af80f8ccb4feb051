extension Settings {
    // MARK: Names and addresses

    public static let file = Setting(
        "SKYSTEAD_SETTINGS_FILE", .text, default: nil,
        help: """
            A file of KEY=value lines with the settings below. The environment wins over the file. \
            Without this key, /etc/skystead/skystead.env is read if it is there. Can only be set in the environment.
            """)
    public static let host = Setting(
        "SKYSTEAD_HOST", .hostName, default: "localhost",
        help: """
            The name under which the service is reached: accounts, XRPC, the firehose. With localhost everything is \
            meant for one machine: plain HTTP, and handles that end in .test.
            """)
    public static let publicURL = Setting(
        "SKYSTEAD_PUBLIC_URL", .url(["https", "http"]), default: nil,
        help: """
            Where the world finds the service, apart from the port that the web server listens on. \
            Without it: https:// and SKYSTEAD_HOST, or http://localhost and SKYSTEAD_PORT. http is for localhost only.
            """)
    public static let port = Setting(
        "SKYSTEAD_PORT", .integer(1...65_535), default: "8080",
        help: "The port of the web server that `skystead up` starts. An installed web server has its own file.")
    public static let handleDomains = Setting(
        "SKYSTEAD_HANDLE_DOMAINS", .hosts, default: "",
        help: """
            The domains under which people may take a handle, as name.domain. \
            Without it: SKYSTEAD_HOST, or test on localhost.
            """)
    public static let sitesDomain = Setting(
        "SKYSTEAD_SITES_DOMAIN", .host, default: nil, reserved: true,
        help: "The domain of hosted sites: a registrable domain apart from SKYSTEAD_HOST.")
    public static let wikiDomain = Setting(
        "SKYSTEAD_WIKI_DOMAIN", .host, default: nil, reserved: true,
        help: "The domain of hosted wikis: a registrable domain apart from SKYSTEAD_HOST.")

    // MARK: Where state lives

    public static let dataDirectory = Setting(
        "SKYSTEAD_DATA_DIR", .path, default: "./data",
        help: "The one directory that holds all state: database, blobs, keys. Back this up.")
    public static let runDirectory = Setting(
        "SKYSTEAD_RUN_DIR", .text, default: nil,
        help: "The directory of the sockets. Without it: run inside SKYSTEAD_DATA_DIR.")
    public static let databaseURL = Setting(
        "SKYSTEAD_DATABASE_URL", .secret, default: nil, secret: true,
        help: """
            postgres://user:password@host/database. Without it: SQLite, in skystead.sqlite inside SKYSTEAD_DATA_DIR.
            """
    )
    public static let sealingKey = Setting(
        "SKYSTEAD_SEALING_KEY", .secret, default: nil, secret: true,
        help: """
            The key under which every other key is sealed: 64 hexadecimal digits. \
            Without it: keys/sealing.key inside SKYSTEAD_DATA_DIR, which `skystead migrate` makes once. \
            Whoever has this and the database has every account's signing key; without it they are lost.
            """)

    // MARK: Accounts

    public static let inviteRequired = Setting(
        "SKYSTEAD_INVITE_REQUIRED", .flag, default: "yes",
        help: "Whether a new account needs an invite code (`skystead invite`).")
    public static let adminPassword = Setting(
        "SKYSTEAD_ADMIN_PASSWORD", .secret, default: nil, secret: true,
        help: "The password of the admin methods (HTTP Basic, user admin). Without it they refuse everyone.")
    public static let contactEmail = Setting(
        "SKYSTEAD_CONTACT_EMAIL", .text, default: nil,
        help: "Shown by describeServer: whom to write to about this server.")
    public static let privacyPolicyURL = Setting(
        "SKYSTEAD_PRIVACY_POLICY_URL", .url(["https", "http"]), default: nil, help: "Shown by describeServer.")
    public static let termsOfServiceURL = Setting(
        "SKYSTEAD_TERMS_OF_SERVICE_URL", .url(["https", "http"]), default: nil, help: "Shown by describeServer.")

    // MARK: Limits

    public static let blobSizeMax = Setting(
        "SKYSTEAD_BLOB_SIZE_MAX", .size(1...(2 << 30)), default: "100M",
        help: "The largest blob that an account may upload. The web server's own limit must be at least this.")
    public static let importSizeMax = Setting(
        "SKYSTEAD_IMPORT_SIZE_MAX", .size(1...(16 << 30)), default: "1G",
        help: """
            The largest repository (CAR) that an account may bring along. The web server's own limit must be at least \
            this.
            """)
    public static let quotaSoft = Setting(
        "SKYSTEAD_QUOTA_SOFT", .size(0...(1 << 50)), default: "0",
        help: "Bytes of records and blobs above which `collect` names an account in its log. 0: none.")
    public static let quotaHard = Setting(
        "SKYSTEAD_QUOTA_HARD", .size(0...(1 << 50)), default: "0",
        help: """
            Bytes of records and blobs that one account may take up; what would go above is refused. 0: no bound. \
            `skystead account info` shows what it takes up.
            """)
    public static let rateLimits = Setting(
        "SKYSTEAD_RATE_LIMITS", .flag, default: "yes",
        help: "Whether callers have budgets. Turn it off for a benchmark on a closed machine only.")
    public static let rateLimitsExempt = Setting(
        "SKYSTEAD_RATE_LIMITS_EXEMPT", .addresses, default: "",
        help: "Addresses whose calls are not counted as such, such as that of an AppView or a relay of your own.")
    public static let diskFreeMin = Setting(
        "SKYSTEAD_DISK_FREE_MIN", .size(0...(1 << 50)), default: "200M",
        help: "The room that there should be in SKYSTEAD_DATA_DIR: with less, `skystead check` says that it is wrong.")
    public static let eventWindowHours = Setting(
        "SKYSTEAD_EVENT_WINDOW_HOURS", .integer(1...8_760), default: "72",
        help: "How long the firehose keeps events for those who come back with a cursor.")

    // MARK: Lexicons

    public static let lexiconDirectory = Setting(
        "SKYSTEAD_LEXICON_DIR", .text, default: nil,
        help: """
            A directory of lexicons (.json files, in folders or not) by which records are checked, beside those that \
            are built in and those that the network publishes. Read when a process starts.
            """)
    public static let lexiconPolicy = Setting(
        "SKYSTEAD_LEXICON_POLICY", .demands, default: "",
        help: """
            How much is asked of records, by the beginning of their collection's name: off checks nothing, optimistic \
            checks what is known and takes the rest, require checks everything, asked or not, and refuses what is not \
            known. * stands for all. Without a rule: optimistic.
            """)

    // MARK: The network

    public static let plcURL = Setting(
        "SKYSTEAD_PLC_URL", .requiredURL, default: "https://plc.directory",
        help: "The PLC directory that new identities are registered with.")
    public static let appViewURL = Setting(
        "SKYSTEAD_APPVIEW_URL", .url(["https", "http"]), default: nil,
        help: """
            The origin of the AppView that calls are passed on to which no method here answers, those of app.bsky \
            above all. Without it only calls that name a service themselves (atproto-proxy) are passed on.
            """)
    public static let appViewDID = Setting(
        "SKYSTEAD_APPVIEW_DID", .did, default: nil,
        help: "The DID of that AppView, which the tokens for it name, such as did:web:api.bsky.app.")
    public static let appViewImageURL = Setting(
        "SKYSTEAD_APPVIEW_IMAGE_URL", .text, default: nil,
        help: """
            Where that AppView has the pictures of posts, with {size}, {did} and {cid} in it, such as \
            https://cdn.bsky.app/img/{size}/plain/{did}/{cid}@jpeg. It is for posts that the AppView has not seen \
            yet. Without it their pictures come from here.
            """)
    public static let moderationDID = Setting(
        "SKYSTEAD_MODERATION_DID", .did, default: nil,
        help: """
            A moderation service that may look at accounts and take them, their records and blobs down, by tokens that \
            it signs. Reports are passed on to it.
            """)
    public static let moderationURL = Setting(
        "SKYSTEAD_MODERATION_URL", .url(["https", "http"]), default: nil, help: "Where that service is.")
    public static let reportServiceDID = Setting(
        "SKYSTEAD_REPORT_SERVICE_DID", .did, default: nil,
        help: "Another service that reports are passed on to, in place of the moderation service.")
    public static let reportServiceURL = Setting(
        "SKYSTEAD_REPORT_SERVICE_URL", .url(["https", "http"]), default: nil, help: "Where that one is.")
    public static let crawlers = Setting(
        "SKYSTEAD_CRAWLERS", .urls, default: "",
        help: """
            Relays that are told when there is something new, such as https://bsky.network: at once, and not again \
            for 20 minutes. Without any nobody is told, and the network does not see what is written here.
            """)
    public static let extraCAFile = Setting(
        "SKYSTEAD_EXTRA_CA_FILE", .text, default: nil,
        help: "Certificates in PEM that are trusted for outbound requests beside the system's.")
    public static let hostOverrides = Setting(
        "SKYSTEAD_HOST_OVERRIDES", .overrides, default: "",
        help: "Addresses for names, in place of DNS: for tests and split DNS.")
    public static let allowPrivateHosts = Setting(
        "SKYSTEAD_ALLOW_PRIVATE_HOSTS", .hostsAndPorts, default: "",
        help: """
            Hosts that outbound requests may reach although their address is private or loopback, by http too. \
            Named one by one: this is the only hole in the guard against request forgery.
            """)
    public static let dnsServers = Setting(
        "SKYSTEAD_DNS_SERVERS", .addresses, default: "",
        help: "DNS servers for handle look-ups. Without it: those of /etc/resolv.conf.")
    public static let smtpURL = Setting(
        "SKYSTEAD_SMTP_URL", .mailServer, default: nil, secret: true,
        help: """
            Where mail is handed over: smtps:// with TLS from the first byte (port 465), or smtp:// with STARTTLS \
            (port 587). Without it no mail is sent: codes wait in `skystead mail queue --codes`. A relay on a private \
            address must be in SKYSTEAD_ALLOW_PRIVATE_HOSTS as host:port; only there, and only without a password, \
            may a connection stay without TLS. `skystead mail test ADDRESS` tries it.
            """)
    public static let mailFrom = Setting(
        "SKYSTEAD_MAIL_FROM", .mailSender, default: nil,
        help: "The sender of that mail: an address that the mail server lets this login use.")

    // MARK: OAuth

    public static let oauthTrustedClients = Setting(
        "SKYSTEAD_OAUTH_TRUSTED_CLIENTS", .clientIDs, default: "", reserved: true,
        help: """
            Apps whose name and logo are shown when people sign in to them, by their client ids, such as \
            https://app.example.com/oauth-client-metadata.json. Of all others only the address is shown: anybody can \
            call an app anything.
            """)

    // MARK: Object storage

    public static let blobPlace = Setting(
        "SKYSTEAD_BLOB_PLACE", .word(["disk", "s3"]), default: "disk",
        help: """
            Where the bytes of new blobs go: disk (blobs inside SKYSTEAD_DATA_DIR), or s3. Those that are there \
            already stay where they are and are served, until `skystead blobs move`.
            """)
    public static let s3Endpoint = Setting(
        "SKYSTEAD_S3_ENDPOINT", .url(["https", "http"]), default: nil,
        help: """
            S3-compatible storage, such as https://s3.eu-central-1.amazonaws.com, without the bucket's name. Storage \
            on a private address must be in SKYSTEAD_ALLOW_PRIVATE_HOSTS as host:port.
            """)
    public static let s3Bucket = Setting(
        "SKYSTEAD_S3_BUCKET", .bucket, default: nil,
        help: "Its bucket, which nobody else may read. Keys begin with blobs/.")
    public static let s3Region = Setting(
        "SKYSTEAD_S3_REGION", .region, default: "us-east-1", help: "Its region, which every request is signed for.")
    public static let s3AccessKeyID = Setting(
        "SKYSTEAD_S3_ACCESS_KEY_ID", .text, default: nil,
        help: "Its access key: it must be able to get, put, delete and list objects of the bucket.")
    public static let s3SecretAccessKey = Setting(
        "SKYSTEAD_S3_SECRET_ACCESS_KEY", .secret, default: nil, secret: true, help: "Its secret key.")

    // MARK: Processes

    public static let threads = Setting(
        "SKYSTEAD_THREADS", .integer(1...512), default: "24",
        help: "Requests that one responder works on at once. The rest waits in the socket's backlog.")
    public static let drainSeconds = Setting(
        "SKYSTEAD_DRAIN_SECONDS", .integer(1...600), default: "55",
        help: """
            How long a process that was asked to stop may take to finish what it has begun. A call that is passed on \
            to another service takes 53 seconds at most.
            """)
    public static let metricsPort = Setting(
        "SKYSTEAD_METRICS_PORT", .integer(0...65_535), default: "0",
        help: "A port on 127.0.0.1 with the XRPC responder's figures for Prometheus at /metrics. 0: none.")
    public static let streamMetricsPort = Setting(
        "SKYSTEAD_STREAM_METRICS_PORT", .integer(0...65_535), default: "0",
        help: "The same for the firehose. 0: none, unless whoever starts it gives it a socket, as systemd does (9402).")
    public static let crawlersMetricsPort = Setting(
        "SKYSTEAD_CRAWLERS_METRICS_PORT", .integer(0...65_535), default: "0",
        help: "The same for the worker that tells relays of news. 0: none.")
    public static let sentryDSN = Setting(
        "SKYSTEAD_SENTRY_DSN", .secret, default: nil, secret: true,
        help: """
            https://key@host/project: where unexpected errors are reported, in the form of Sentry (envelopes). \
            A report holds what the log says, never a header of a request.
            """)
    public static let streamPort = Setting(
        "SKYSTEAD_STREAM_PORT", .integer(0...65_535), default: "0",
        help: "A port on 127.0.0.1 for the firehose, beside its unix socket. 0: none.")
    public static let logLevel = Setting(
        "SKYSTEAD_LOG_LEVEL", .word(["debug", "info", "warning", "error"]), default: "info",
        help: "The least important level that is logged.")

    /// The table, by headings, in the order of the documents.
    static let table: [(heading: String, rows: [any SettingRow])] = [
        ("Names and addresses", [file, host, publicURL, port, handleDomains, sitesDomain, wikiDomain]),
        ("Where state lives", [dataDirectory, runDirectory, databaseURL, sealingKey]),
        (
            "Accounts",
            [inviteRequired, adminPassword, contactEmail, privacyPolicyURL, termsOfServiceURL]
        ),
        (
            "Limits",
            [
                blobSizeMax, importSizeMax, quotaSoft, quotaHard, rateLimits, rateLimitsExempt, diskFreeMin,
                eventWindowHours,
            ]
        ),
        ("Lexicons", [lexiconDirectory, lexiconPolicy]),
        (
            "The network",
            [
                plcURL, appViewURL, appViewDID, appViewImageURL, moderationDID, moderationURL, reportServiceDID,
                reportServiceURL, crawlers, extraCAFile, hostOverrides, allowPrivateHosts, dnsServers, smtpURL,
                mailFrom,
            ]
        ),
        ("OAuth", [oauthTrustedClients]),
        ("Object storage", [blobPlace, s3Endpoint, s3Bucket, s3Region, s3AccessKeyID, s3SecretAccessKey]),
        (
            "Processes",
            [
                threads, drainSeconds, metricsPort, streamMetricsPort, crawlersMetricsPort, streamPort, sentryDSN,
                logLevel,
            ]
        ),
    ]

    static let rows: [any SettingRow] = table.flatMap(\.rows)
}
