// Writes what Node's encoders make of each value, alone and in a text. See encoded.md.
import { readFileSync } from "node:fs";
import { inspect } from "node:util";

const userinfo = (text) => {
  const url = new URL("postgres://host/");
  url.password = text;
  return url.href.slice("postgres://:".length, -"@host/".length);
};
const encoders = {
  "JSON.stringify": (text) => JSON.stringify(text).slice(1, -1),
  "JSON.stringify twice": (text) => JSON.stringify(JSON.stringify(text)).slice(3, -3),
  encodeURIComponent,
  encodeURI,
  URLSearchParams: (text) => new URLSearchParams({ a: text }).toString().slice(2),
  "URL.password": userinfo,
  "util.inspect": (text) => inspect(text).slice(1, -1),
};
const hex = (text) => Buffer.from(text).toString("hex");
const line = (by, value, encoded, text) => console.log([`Node ${by}`, hex(value), hex(encoded), hex(text)].join("\t"));
for (const value of readFileSync(process.argv[2], "utf8").trimEnd().split("\n")) {
  for (const [by, encode] of Object.entries(encoders)) line(by, value, encode(value), encode(`user=${value}, next`));
  for (const by of ["base64", "base64url"]) {
    for (const before of ["", "u", "me", "user:"]) line(by, value, "", Buffer.from(`${before}${value}@`).toString(by));
  }
}
