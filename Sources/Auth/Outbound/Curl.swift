import CCurl

/// What all uses of libcurl share.
enum Curl {
    /// False when libcurl can't be used in this process.
    static let isPrepared = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// To be freed by `curl_slist_free_all`.
    static func list(_ lines: [String]) -> UnsafeMutablePointer<curl_slist>? {
        lines.reduce(nil) { curl_slist_append($0, $1) ?? $0 }
    }
}
