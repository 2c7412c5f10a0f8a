// The providers of OpenFeature for JavaScript, of servers and of browsers, against a running service.
//
//     npm ci && node --test clients.mjs
//
// SEGSVC_URL is its address, SEGSVC_KEY the key of an editor if it wants one. The segments that this
// makes for itself are gone after it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature as Server } from "@openfeature/server-sdk";
import { OpenFeature as Web, ProviderEvents } from "@openfeature/web-sdk";

const baseUrl = process.env.SEGSVC_URL ?? "http://127.0.0.1:8080";
const key = process.env.SEGSVC_KEY;
const headers = key ? [["Authorization", `Bearer ${key}`]] : [];

const run = `CLIENTS_${Date.now()}`;
const MANUAL = `${run}_MANUAL`;
const ALL = `${run}_ALL`;
const NOBODY = `${run}_NOBODY`;
const NONE = `${run}_NONE`;
const USER = { targetingKey: "1000", plan: "gold", age: 30 };
const OTHER = { targetingKey: "1001" };

async function call(method, path, body) {
  const answer = await fetch(`${baseUrl}/api/v1${path}`, {
    method,
    headers: [...headers, ["Content-Type", "application/json"]],
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

// What a client says of a flag whose value is not its default.
function said(client, flag, value, context) {
  return client.getBooleanDetails(flag, !value, context);
}

function assertOn(details, reason) {
  assert.equal(details.errorCode, undefined, details.errorMessage);
  assert.deepEqual([details.value, details.variant, details.reason], [true, "on", reason]);
}

function assertOff(details, reason) {
  assert.equal(details.errorCode, undefined, details.errorMessage);
  assert.deepEqual([details.value, details.variant, details.reason], [false, "off", reason]);
}

before(async () => {
  await call("POST", "/segments", { slug: MANUAL });
  await call("POST", "/segments", { slug: ALL, percent: 100 });
  await call("POST", "/segments", { slug: NOBODY, percent: 0 });
  await call("POST", "/users/1000/segments", { add: [MANUAL] });
});

after(async () => {
  await Promise.all([Server.close(), Web.close()]);
  for (const slug of [MANUAL, ALL, NOBODY]) {
    await call("DELETE", `/segments/${slug}`);
  }
});

test("a server is told each value, and what it follows from", async () => {
  await Server.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
  const client = Server.getClient();
  assertOn(await said(client, MANUAL, true, USER), "TARGETING_MATCH");
  assertOff(await said(client, MANUAL, false, OTHER), "STATIC");
  assertOn(await said(client, ALL, true, USER), "SPLIT");
  assertOff(await said(client, NOBODY, false, USER), "SPLIT");
});

test("a server takes its own default, and knows why", async () => {
  const client = Server.getClient();
  for (const [flag, context, code] of [
    [NONE, USER, "FLAG_NOT_FOUND"],
    [MANUAL, {}, "TARGETING_KEY_MISSING"],
    [MANUAL, { targetingKey: "alice" }, "INVALID_CONTEXT"],
  ]) {
    const details = await client.getBooleanDetails(flag, true, context);
    assert.deepEqual([details.value, details.reason, details.errorCode], [true, "ERROR", code]);
    assert.ok(details.errorMessage);
  }
});

test("a server sees what was written a moment ago", async () => {
  const client = Server.getClient();
  await call("POST", "/users/1001/segments", { add: [MANUAL] });
  assertOn(await said(client, MANUAL, true, OTHER), "TARGETING_MATCH");
  await call("POST", "/users/1001/segments", { remove: [MANUAL] });
  assertOff(await said(client, MANUAL, false, OTHER), "STATIC");
});

test("a browser is told all at once, polls with the entity tag, and hears of changes", async () => {
  const statuses = [];
  const provider = new OFREPWebProvider({
    baseUrl,
    headers,
    pollInterval: 100,
    cacheMode: "disabled",
    fetchImplementation: async (...request) => {
      const answer = await fetch(...request);
      statuses.push(answer.status);
      return answer;
    },
  });
  await Web.setProviderAndWait(provider, USER);
  const client = Web.getClient();
  assertOn(said(client, MANUAL, true), "TARGETING_MATCH");
  assertOn(said(client, ALL, true), "SPLIT");
  assertOff(said(client, NOBODY, false), "SPLIT");
  assert.equal(client.getBooleanDetails(NONE, true).errorCode, "FLAG_NOT_FOUND");

  while (statuses.length < 4) await sleep(20);
  assert.deepEqual(statuses.slice(0, 4), [200, 304, 304, 304]);

  const changed = new Promise((resolve) => {
    client.addHandler(ProviderEvents.ConfigurationChanged, resolve);
  });
  await call("POST", "/users/1000/segments", { remove: [MANUAL] });
  assert.deepEqual((await changed).flagsChanged, [MANUAL]);
  assertOff(said(client, MANUAL, false), "STATIC");

  await call("POST", "/users/1001/segments", { add: [MANUAL] });
  await Web.setContext(OTHER);
  assertOn(said(client, MANUAL, true), "TARGETING_MATCH");
});

test("a browser is not ready without a user, or without a key", async () => {
  const wrong = [[{}, headers], [{ targetingKey: "alice" }, headers]];
  if (key) wrong.push([USER, []]);
  for (const [context, given] of wrong) {
    const provider = new OFREPWebProvider({ baseUrl, headers: given, cacheMode: "disabled" });
    await assert.rejects(Web.setProviderAndWait("wrong", provider, context));
  }
});

test("a server without a key takes its own default", { skip: !key }, async () => {
  await Server.setProviderAndWait("keyless", new OFREPProvider({ baseUrl }));
  const details = await Server.getClient("keyless").getBooleanDetails(MANUAL, true, USER);
  assert.deepEqual([details.value, details.reason], [true, "ERROR"]);
});
