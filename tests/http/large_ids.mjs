// User ids above 2^53 - 1, which JavaScript cannot hold as numbers, against a running service.
//
//     node --test large_ids.mjs
//
// SEGSVC_URL is its address, SEGSVC_KEY the key of an editor if it wants one.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

const baseUrl = process.env.SEGSVC_URL ?? "http://127.0.0.1:8080";
const key = process.env.SEGSVC_KEY;
const SLUG = `LARGE_IDS_${Date.now()}`;
const IDS = ["9007199254740993", "9007199254740995", "9223372036854775807"];

async function call(method, path, body, type = "application/json") {
  const headers = { "Content-Type": type, ...(key && { Authorization: `Bearer ${key}` }) };
  const answer = await fetch(`${baseUrl}/api/v1${path}`, { method, headers, body });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer;
}

before(async () => {
  await call("POST", "/segments", JSON.stringify({ slug: SLUG }));
  await call("POST", `/segments/${SLUG}/members/add`, IDS.join("\n"), "text/csv");
});

after(() => call("DELETE", `/segments/${SLUG}`));

test("pages end when next is sent back as it is", async () => {
  const found = [];
  let query = "limit=1";
  while (query) {
    assert.ok(found.length < IDS.length);
    const text = await (await call("GET", `/segments/${SLUG}/members?${query}`)).text();
    found.push(...text.match(/(?<="user_id": )\d+/g));
    const { next } = JSON.parse(text);
    query = next && new URLSearchParams({ limit: 1, after: next }).toString();
  }
  assert.deepEqual(found, IDS);
});

test("ids as decimal strings ask about these users, in their order", async () => {
  const body = JSON.stringify({ user_ids: [...IDS, "9007199254740992"] });
  const { users } = await (await call("POST", "/users/segments", body)).json();
  assert.deepEqual(users.map((user) => user.segments.includes(SLUG)), [true, true, true, false]);
});

test("a report of one such user can be asked for", async () => {
  const period = new Date().toISOString().slice(0, 7);
  const body = JSON.stringify({ period, user_id: IDS[0] });
  const { url } = await (await call("POST", "/reports", body)).json();
  assert.equal(new URL(url).searchParams.get("user_id"), IDS[0]);
});
