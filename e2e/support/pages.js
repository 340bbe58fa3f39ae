import { ADMIN } from "./pages/admin.js";
import { BILLING } from "./pages/billing.js";
import { SETTINGS } from "./pages/settings.js";
import { SIGN_IN } from "./pages/sign-in.js";
import { SITE } from "./pages/site.js";
import { WIZARD } from "./pages/wizard.js";

export { CALLING } from "./pages/ways.js";

/**
 * Every page, and every state that looks different. One line adds one, in the file of its area:
 * `title`, how to get there (`path`, or `go` where there is more to do), and where needed the server's `env`, the `status` that
 * the browser reports, `isOffline`, and the page that this one is another state of (`alike`): those may share a title.
 */
export const PAGES = [...SITE, ...SIGN_IN, ...WIZARD, ...SETTINGS, ...BILLING, ...ADMIN];

/** Brings a page into one of the states above. */
export async function visit({ path, go }, page, server, webhook) {
  if (go) await go(page, server, webhook);
  else await page.goto(path);
}
