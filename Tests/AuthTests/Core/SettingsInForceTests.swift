import Testing

@testable import Auth

struct SettingsInForceTests {
    @Test(arguments: Window.allCases)
    func `a window is from a minute to a year, and else its default`(_ window: Window) throws {
        func seconds(_ text: String) -> Int { Settings(stored: [window.key: text]).seconds(window) }
        let standard = window.defaultSeconds
        #expect(Settings(stored: [:]).seconds(window) == standard)
        for (text, expected) in [
            ("60", 60), ("61", 61), ("31535999", 31_535_999), ("31536000", 31_536_000), ("00060", 60),
        ] {
            #expect(seconds(text) == expected, "\(text)")
        }
        let garbage = [
            "59", "31536001", "0", "-1", "-60", "+60", "", " ", " 60", "60 ", "60s", "1h", "60.0", "6e1", "0x60", "１２３",
            "٦٠٠", "null", "true",
            "9223372036854775807", "9223372036854775808", "99999999999999999999999999999999", "60\n", "60\u{0}",
        ]
        let definition = try #require(SettingsCatalogue.definition(of: window.key))
        for text in garbage {
            #expect(seconds(text) == standard, "\(text)")
            #expect(Settings.windowSeconds(text) == nil, "\(text)")
            let warning = definition.warning(about: text)
            #expect(warning == "is not between 60 and 31536000 seconds: the default of \(standard) is used", "\(text)")
        }
        #expect(definition.warning(about: "60") == nil)
        #expect(definition.warning(about: "31536000") == nil)
    }

    @Test func `a window is set when it was given a value, good or bad`() {
        #expect(!Settings(stored: [:]).isSet(.refresh))
        #expect(Settings(stored: ["auth.refresh.window_seconds": "60"]).isSet(.refresh))
        #expect(Settings(stored: ["auth.refresh.window_seconds": "garbage"]).isSet(.refresh))
        #expect(!Settings(stored: ["auth.refresh.window_seconds": "60"]).isSet(.user))
    }

    @Test(arguments: Feature.allCases)
    func `a feature is on for 1 and true alone`(_ feature: Feature) {
        #expect(Settings(stored: [:]).isOn(feature) == feature.isOnByDefault)
        for text in ["1", "true"] { #expect(Settings(stored: [feature.key: text]).isOn(feature), "\(text)") }
        for text in ["0", "false", "", "2", "yes", "TRUE", " 1", "01"] {
            #expect(!Settings(stored: [feature.key: text]).isOn(feature), "\(text)")
        }
    }

    @Test func `rate limits have their rules, the standard ones instead of bad ones, or none`() {
        #expect(Settings(stored: [:]).rateRules == .standard)
        #expect(
            Settings(stored: ["rate_limit.rules": "auth=5/1"]).rateRules?.auth == RateRules.Rule(count: 5, seconds: 1)
        )
        #expect(Settings(stored: ["rate_limit.rules": "garbage"]).rateRules == .standard)
        #expect(Settings(stored: ["rate_limit.enabled": "0"]).rateRules == nil)
    }

    @Test func `proxies that can not be read are not trusted`() {
        #expect(Settings(stored: [:]).trustedProxies == [])
        #expect(Settings(stored: ["security.trusted_proxies": "10.0.0.0/8,::1"]).trustedProxies.count == 2)
        #expect(Settings(stored: ["security.trusted_proxies": "10.0.0.0/8,garbage"]).trustedProxies == [])
    }

    @Test func `any origin may call, or those that are named`() {
        #expect(Settings(stored: [:]).corsOrigins == nil)
        #expect(
            Settings(stored: ["cors.origins": "https://a.b, https://c.d"]).corsOrigins == [
                "https://a.b", "https://c.d",
            ]
        )
        #expect(Settings(stored: ["cors.origins": "https://a.b, *"]).corsOrigins == nil)
        #expect(Settings(stored: ["cors.origins": ""]).corsOrigins == [])
    }

    @Test func `what nobody knows is empty`() {
        let settings = Settings(stored: ["unknown.key": "1"])
        #expect(settings.text("another.key") == "")
        #expect(settings.count("another.key") == 0)
        #expect(settings.count("password.min_length") == 8)
        #expect(!settings.isOn("another.key"))
    }
}
