import { once } from "node:events";
import { createServer } from "node:http";
import Provider from "oidc-provider";

/** A real OpenID provider (oidc-provider, certified), with accounts that are their own addresses and need no particular password. */
export class OpenIdProvider {
  /** Starts one, on a port that was chosen before where its environment is asked for before. */
  static async start(port = 0) {
    const provider = new OpenIdProvider();
    provider.http = createServer();
    provider.http.listen(port, "127.0.0.1");
    await once(provider.http, "listening");
    provider.env = OpenIdProvider.env(provider.http.address().port);
    const oidc = new Provider(provider.env.TENANTRY_OAUTH__GOOGLE__ISSUER, {
      clients: [{ client_id: "tenantry", client_secret: "a-client-secret-for-tests", redirect_uris: ["http://localhost/api/v1/auth/oauth/google/callback"] }],
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
      pkce: { required: () => true },
      findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, email: id, email_verified: true, name: "Ada Lovelace" }) }),
      cookies: { keys: ["a key that signs cookies in tests"] },
    });
    // The product's port is another in each test; all else of its address is held to.
    oidc.Client.prototype.redirectUriAllowed = function (uri) {
      const url = new URL(uri);
      url.port = "";
      return this.redirectUris.includes(url.href);
    };
    provider.http.on("request", oidc.callback());
    return provider;
  }

  /** What makes one on this port the product's provider of that name. */
  static env(port) {
    return {
      TENANTRY_OAUTH__GOOGLE__CLIENT_ID: "tenantry",
      TENANTRY_OAUTH__GOOGLE__CLIENT_SECRET: "a-client-secret-for-tests",
      TENANTRY_OAUTH__GOOGLE__ISSUER: `http://localhost:${port}`,
    };
  }

  async end() {
    this.http.closeAllConnections();
    this.http.close();
    await once(this.http, "close");
  }
}

/** Its pages ask for a font elsewhere; they do without. */
export const withoutFonts = (page) => page.route("https://fonts.googleapis.com/**", (route) => route.fulfill({ contentType: "text/css", body: "" }));

/** Logs in at the provider, and agrees to what it asks. */
export async function agree(page, email) {
  await page.locator("input[name=login]").fill(email);
  await page.locator("input[name=password]").fill("any");
  await page.getByRole("button", { name: "Sign-in" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
}
