/// The providers that are built in (seed 002), and OpenID Connect for the rest.
///
/// An address counts as verified only by the provider's explicit word: not by the string "false", nor by silence, nor by
/// Microsoft's word (anybody with a tenant can write any address there) or Spotify's (it verifies none). docs/flows/oauth.md
/// tells of each.
extension OAuthProvider {
    static let builtIn: [OAuthProvider] = [
        google, github, gitlab, facebook, microsoft, discord, twitch, spotify, linkedin, slack, bitbucket, notion,
        patreon, apple, twitter,
    ]

    /// Any OpenID Connect issuer, by discovery.
    static func openID(_ name: String) -> OAuthProvider {
        OAuthProvider(
            name: name,
            displayName: "OpenID Connect",
            scopes: ["openid", "email", "profile"],
            clientAuthentication: .published,
            idToken: .required,
            isDiscovered: true,
            profile: { OAuthProfile(openID: $0) }
        )
    }

    private static let google = OAuthProvider(
        name: "google",
        displayName: "Google",
        authorizationURL: "https://accounts.google.com/o/oauth2/v2/auth",
        tokenURL: "https://oauth2.googleapis.com/token",
        userinfoURL: "https://openidconnect.googleapis.com/v1/userinfo",
        jwksURL: "https://www.googleapis.com/oauth2/v3/certs",
        issuers: ["https://accounts.google.com", "accounts.google.com"],
        scopes: ["openid", "email", "profile"],
        idToken: .accepted,
        profile: { OAuthProfile(openID: $0) }
    )

    private static let github = OAuthProvider(
        name: "github",
        displayName: "GitHub",
        authorizationURL: "https://github.com/login/oauth/authorize",
        tokenURL: "https://github.com/login/oauth/access_token",
        userinfoURL: "https://api.github.com/user",
        scopes: ["read:user", "user:email"],
        userinfoHeaders: ["X-GitHub-Api-Version: 2022-11-28"],
        hasEmailList: true,
        profile: { answers in
            let user = answers.userinfo
            let listed = answers.emails?.elements ?? []
            // The address and the word on it from one place: the one of the profile is not said to be verified.
            let primary = listed.first { $0["primary"] == true && $0["email"]?.text?.isEmpty == false }
            return OAuthProfile(
                subject: user?["id"],
                email: (primary ?? user)?["email"]?.text,
                isEmailVerified: primary?["verified"] == true,
                name: user?["name"]?.text ?? user?["login"]?.text,
                picture: user?["avatar_url"]?.text
            )
        }
    )

    private static let gitlab = OAuthProvider(
        name: "gitlab",
        displayName: "GitLab",
        authorizationURL: "https://gitlab.com/oauth/authorize",
        tokenURL: "https://gitlab.com/oauth/token",
        userinfoURL: "https://gitlab.com/oauth/userinfo",
        jwksURL: "https://gitlab.com/oauth/discovery/keys",
        issuers: ["https://gitlab.com"],
        scopes: ["openid", "email", "profile"],
        idToken: .accepted,
        profile: { OAuthProfile(openID: $0) }
    )

    private static let facebook = OAuthProvider(
        name: "facebook",
        displayName: "Facebook",
        authorizationURL: "https://www.facebook.com/v21.0/dialog/oauth",
        tokenURL: "https://graph.facebook.com/v21.0/oauth/access_token",
        userinfoURL: "https://graph.facebook.com/v21.0/me",
        scopes: ["public_profile", "email"],
        userinfoQuery: "fields=id,name,email,picture.type(large)",
        profile: { answers in
            let user = answers.userinfo
            // It says nowhere that the address is verified.
            return OAuthProfile(
                subject: user?["id"],
                email: user?["email"]?.text,
                name: user?["name"]?.text,
                picture: user?["picture"]?["data"]?["url"]?.text
            )
        }
    )

    private static let microsoft = OAuthProvider(
        name: "microsoft",
        displayName: "Microsoft",
        authorizationURL: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        tokenURL: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        userinfoURL: "https://graph.microsoft.com/oidc/userinfo",
        jwksURL: "https://login.microsoftonline.com/common/discovery/v2.0/keys",
        issuers: ["https://login.microsoftonline.com/{tenantid}/v2.0"],
        scopes: ["openid", "email", "profile"],
        idToken: .accepted,
        // The admin of any tenant can write any address.
        profile: { OAuthProfile(openID: $0, isVerified: { _ in false }) }
    )

    private static let discord = OAuthProvider(
        name: "discord",
        displayName: "Discord",
        authorizationURL: "https://discord.com/oauth2/authorize",
        tokenURL: "https://discord.com/api/oauth2/token",
        userinfoURL: "https://discord.com/api/users/@me",
        scopes: ["identify", "email"],
        profile: { answers in
            let user = answers.userinfo
            let avatar = [user?["id"]?.text, user?["avatar"]?.text].compactMap(\.self)
            return OAuthProfile(
                subject: user?["id"],
                email: user?["email"]?.text,
                isEmailVerified: user?["verified"] == true,
                name: user?["global_name"]?.text ?? user?["username"]?.text,
                picture: avatar.count == 2
                    ? "https://cdn.discordapp.com/avatars/\(avatar[0])/\(avatar[1]).png" : nil
            )
        }
    )

    private static let twitch = OAuthProvider(
        name: "twitch",
        displayName: "Twitch",
        authorizationURL: "https://id.twitch.tv/oauth2/authorize",
        tokenURL: "https://id.twitch.tv/oauth2/token",
        userinfoURL: "https://api.twitch.tv/helix/users",
        jwksURL: "https://id.twitch.tv/oauth2/keys",
        issuers: ["https://id.twitch.tv/oauth2"],
        scopes: ["user:read:email"],
        idToken: .accepted,
        userinfoHeaders: ["Client-Id: {client_id}"],
        profile: { answers in
            guard let user = answers.userinfo?["data"]?.elements.first else { return OAuthProfile(openID: answers) }
            // Its reference calls the field the user's verified address, and leaves it out otherwise.
            return OAuthProfile(
                subject: user["id"],
                email: user["email"]?.text,
                isEmailVerified: true,
                name: user["display_name"]?.text,
                picture: user["profile_image_url"]?.text
            )
        }
    )

    private static let spotify = OAuthProvider(
        name: "spotify",
        displayName: "Spotify",
        authorizationURL: "https://accounts.spotify.com/authorize",
        tokenURL: "https://accounts.spotify.com/api/token",
        userinfoURL: "https://api.spotify.com/v1/me",
        scopes: ["user-read-email"],
        profile: { answers in
            let user = answers.userinfo
            // Its reference says that the address is not verified.
            return OAuthProfile(
                subject: user?["id"],
                email: user?["email"]?.text,
                name: user?["display_name"]?.text,
                picture: user?["images"]?.elements.first?["url"]?.text
            )
        }
    )

    private static let linkedin = OAuthProvider(
        name: "linkedin",
        displayName: "LinkedIn",
        authorizationURL: "https://www.linkedin.com/oauth/v2/authorization",
        tokenURL: "https://www.linkedin.com/oauth/v2/accessToken",
        userinfoURL: "https://api.linkedin.com/v2/userinfo",
        jwksURL: "https://www.linkedin.com/oauth/openid/jwks",
        issuers: ["https://www.linkedin.com/oauth", "https://www.linkedin.com"],
        scopes: ["openid", "profile", "email"],
        idToken: .acceptedWithoutNonce,
        profile: { OAuthProfile(openID: $0) }
    )

    private static let slack = OAuthProvider(
        name: "slack",
        displayName: "Slack",
        authorizationURL: "https://slack.com/openid/connect/authorize",
        tokenURL: "https://slack.com/api/openid.connect.token",
        userinfoURL: "https://slack.com/api/openid.connect.userInfo",
        jwksURL: "https://slack.com/openid/connect/keys",
        issuers: ["https://slack.com"],
        scopes: ["openid", "email", "profile"],
        idToken: .accepted,
        profile: { OAuthProfile(openID: $0) }
    )

    private static let bitbucket = OAuthProvider(
        name: "bitbucket",
        displayName: "Bitbucket",
        authorizationURL: "https://bitbucket.org/site/oauth2/authorize",
        tokenURL: "https://bitbucket.org/site/oauth2/access_token",
        userinfoURL: "https://api.bitbucket.org/2.0/user",
        scopes: ["account", "email"],
        hasEmailList: true,
        profile: { answers in
            let user = answers.userinfo
            let primary = answers.emails?["values"]?.elements.first { $0["is_primary"] == true }
            return OAuthProfile(
                subject: user?["uuid"],
                email: primary?["email"]?.text,
                isEmailVerified: primary?["is_confirmed"] == true,
                name: user?["display_name"]?.text,
                picture: user?["links"]?["avatar"]?["href"]?.text
            )
        }
    )

    private static let notion = OAuthProvider(
        name: "notion",
        displayName: "Notion",
        authorizationURL: "https://api.notion.com/v1/oauth/authorize",
        tokenURL: "https://api.notion.com/v1/oauth/token",
        userinfoURL: "https://api.notion.com/v1/users/me",
        scopes: [],
        clientAuthentication: .basic,
        parameters: [("owner", "user")],
        userinfoHeaders: ["Notion-Version: 2022-06-28"],
        profile: { answers in
            // Who asks is the integration's bot; who has let it in is its owner.
            let user = answers.userinfo?["bot"]?["owner"]?["user"] ?? answers.token["owner"]?["user"]
            return OAuthProfile(
                subject: user?["id"],
                email: user?["person"]?["email"]?.text,
                name: user?["name"]?.text,
                picture: user?["avatar_url"]?.text
            )
        }
    )

    private static let patreon = OAuthProvider(
        name: "patreon",
        displayName: "Patreon",
        authorizationURL: "https://www.patreon.com/oauth2/authorize",
        tokenURL: "https://www.patreon.com/api/oauth2/token",
        userinfoURL: "https://www.patreon.com/api/oauth2/v2/identity",
        scopes: ["identity", "identity[email]"],
        userinfoQuery: "fields%5Buser%5D=full_name,email,is_email_verified,image_url",
        profile: { answers in
            let user = answers.userinfo?["data"]
            let attributes = user?["attributes"]
            return OAuthProfile(
                subject: user?["id"],
                email: attributes?["email"]?.text,
                isEmailVerified: attributes?["is_email_verified"] == true,
                name: attributes?["full_name"]?.text,
                picture: attributes?["image_url"]?.text
            )
        }
    )

    private static let apple = OAuthProvider(
        name: "apple",
        displayName: "Apple",
        authorizationURL: "https://appleid.apple.com/auth/authorize",
        tokenURL: "https://appleid.apple.com/auth/token",
        jwksURL: "https://appleid.apple.com/auth/keys",
        issuers: ["https://appleid.apple.com"],
        scopes: ["name", "email"],
        clientAuthentication: .appleJWT,
        idToken: .required,
        // With scopes, Apple answers by a POST only.
        parameters: [("response_mode", "form_post")],
        // It has sent the flag as a string, and documents both.
        profile: { OAuthProfile(openID: $0) { $0["email_verified"] == true || $0["email_verified"] == "true" } }
    )

    private static let twitter = OAuthProvider(
        name: "twitter",
        displayName: "X",
        authorizationURL: "https://x.com/i/oauth2/authorize",
        tokenURL: "https://api.x.com/2/oauth2/token",
        userinfoURL: "https://api.x.com/2/users/me",
        scopes: ["users.read", "tweet.read", "users.email"],
        clientAuthentication: .basic,
        needsPKCE: true,
        userinfoQuery: "user.fields=confirmed_email,profile_image_url",
        profile: { answers in
            let user = answers.userinfo?["data"]
            return OAuthProfile(
                subject: user?["id"],
                email: user?["confirmed_email"]?.text,
                isEmailVerified: true,
                name: user?["name"]?.text,
                picture: user?["profile_image_url"]?.text
            )
        }
    )
}
