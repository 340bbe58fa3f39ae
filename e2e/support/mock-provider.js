// A sign-in provider that does what a test tells it to: oauth2-mock-server, with a way to say what its next answers are.
//
//   node mock-provider.js      prints {"issuer": …}; ends when its standard input ends
//
// POST /next takes, as JSON, what holds until it is said anew:
//   claims     of the ID token, over the usual ones; null leaves one out
//   header     of the ID token, likewise
//   sign       "stranger" signs with a key that is not published, "secret" with HS256 and the client's secret, "none" not at all
//   discovery  members of the discovery document, over the usual ones
//   userinfo   what the userinfo endpoint answers; who the ID token is about where it is not said
//   redirect   parameters of the way back, over the usual ones; null leaves one out
//   status     of the token endpoint
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { SignJWT, generateKeyPair } from "jose";
import mock from "oauth2-mock-server";

/** What the tests configure as our secret there. */
const CLIENT_SECRET = "a-client-secret-for-tests";

const { service, issuer } = new mock.OAuth2Server();
const { privateKey } = await generateKeyPair("RS256");
await issuer.keys.generate("RS256");

let next = {};

function apply(target, changes = {}) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete target[name];
    else target[name] = value;
  }
}

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The ID token again, signed as nobody should. */
async function signed(token) {
  const [head, body] = token.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
  if (next.sign === "stranger") return new SignJWT(body).setProtectedHeader(head).sign(privateKey);
  if (next.sign === "secret") {
    const text = `${encoded({ ...head, alg: "HS256" })}.${encoded(body)}`;
    return `${text}.${createHmac("sha256", CLIENT_SECRET).update(text).digest("base64url")}`;
  }
  if (next.sign === "none") return `${encoded({ ...head, alg: "none" })}.${encoded(body)}.`;
  return token;
}

service.on("beforeTokenSigning", (token) => {
  apply(token.payload, next.claims);
  apply(token.header, next.header);
});

service.on("beforeUserinfo", (response) => {
  response.body = next.userinfo ?? { sub: next.claims?.sub ?? "johndoe" };
});

service.on("beforeAuthorizeRedirect", ({ url }) => {
  for (const [name, value] of Object.entries(next.redirect ?? {})) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
});

/** Collects a response's JSON, so that it can be changed before it leaves. */
function changed(response, change) {
  const end = response.end.bind(response);
  response.write = () => true;
  response.end = (text) => {
    change(JSON.parse(text)).then((body) => {
      response.removeHeader("etag");
      response.setHeader("content-length", Buffer.byteLength(body));
      end(body);
    });
    return response;
  };
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  if (request.method === "POST" && pathname === "/next") {
    let text = "";
    for await (const chunk of request) text += chunk;
    next = JSON.parse(text);
    response.end();
    return;
  }
  if (pathname.endsWith("/.well-known/openid-configuration")) {
    // Microsoft's is below the name of a tenant.
    request.url = "/.well-known/openid-configuration";
    changed(response, async (document) => {
      apply(document, next.discovery);
      return JSON.stringify(document);
    });
  }
  if (pathname === "/token" && next.status) {
    response.writeHead(next.status, { "content-type": "application/json" }).end(JSON.stringify({ error: "invalid_grant" }));
    return;
  }
  if (pathname === "/token" && next.sign) {
    changed(response, async (answer) => {
      if (answer.id_token) answer.id_token = await signed(answer.id_token);
      return JSON.stringify(answer);
    });
  }
  service.requestHandler(request, response);
});

server.listen(0, "127.0.0.1", () => {
  issuer.url = `http://localhost:${server.address().port}`;
  console.log(JSON.stringify({ issuer: issuer.url }));
});
process.stdin.resume().on("end", () => process.exit());
