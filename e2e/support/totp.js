import { createHmac } from "node:crypto";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** What an authenticator app does: the code of a secret, in base 32, at a moment (RFC 6238). */
export function totp(secret, at) {
  const bits = [...secret.replaceAll(" ", "")].map((letter) => LETTERS.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const mac = createHmac("sha1", key).update(step).digest();
  const offset = mac.at(-1) & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Somebody's phone. A code is good once, so each comes half a minute after the one before, by the product's clock. */
export class Phone {
  constructor(server, secret) {
    Object.assign(this, { server, secret });
  }

  async code() {
    const { now } = await this.server.advance(30);
    return totp(this.secret, Date.parse(now));
  }
}
