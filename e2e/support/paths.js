import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const set = process.env.CARGO_TARGET_DIR || "target";

/** Cargo's target directory; a relative one is the repository's, as cargo takes it there. */
export const target = isAbsolute(set) ? set : join(root, set);

/** Debian's Chromium without its window, in which a test takes two thirds of the time. */
export const CHROMIUM = process.env.CHROMIUM || "/usr/bin/chromium-headless-shell";
