/** Which announcer belongs to which client, without any database. */
import type { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Redacted } from "effect"
import { announcerOf } from "../../src/repo/announcer.js"
import type { Instance, Slot } from "../../src/supervision/instance.js"

/** As far as it is looked at: what it was configured with. */
const client = (config?: object) => ({ config }) as unknown as SqlClient.SqlClient

/** Instances of one child, of a tree or of a dynamic supervisor, which draws itself. */
const child = (path = "app/repo", parent?: Instance, draw?: () => void) => {
  const slot = { path } as Slot
  return () => ({ slot, owner: { parent, draw } }) as unknown as Instance
}

const [a, b] = [{ host: "a" }, { host: "b", url: Redacted.make("postgres://b") }]

describe("announcerOf", () => {
  it("is one for all that is made of a client, in children or not", () => {
    const one = client(a)
    const announcer = announcerOf(one)
    expect(announcerOf(one, child()())).toBe(announcer)
    expect(announcerOf(one, child("app/other")())).toBe(announcer)
    expect(announcerOf(client(a))).not.toBe(announcer)
  })

  it("is that of the instance before, whose listeners are told of the new client", () => {
    const next = child()
    const told: Array<unknown> = []
    const announcer = announcerOf(client(a), next())
    announcer.onRenewal(() => told.push(announcer.client))
    const second = client(a)
    expect(announcerOf(second, next())).toBe(announcer)
    expect(told).toEqual([second])
    // Not again for what is made of the same client.
    announcerOf(second, next())
    expect(told).toEqual([second])
    expect(announcerOf(client(a), child()())).not.toBe(announcer)
  })

  it("is one for each database of a child, in whatever order the next instance comes to them", () => {
    const next = child()
    const first = next()
    const [one, other] = [announcerOf(client(a), first), announcerOf(client(b), first)]
    expect(one).not.toBe(other)
    const second = next()
    expect(announcerOf(client(b), second)).toBe(other)
    expect(announcerOf(client(a), second)).toBe(one)
  })

  it("is that of the one which nobody has asked for yet, where the configuration has changed", () => {
    const next = child()
    const first = next()
    const [one, other] = [announcerOf(client(a), first), announcerOf(client(b), first)]
    const second = next()
    expect(announcerOf(client(a), second)).toBe(one)
    expect(announcerOf(client({ host: "c" }), second)).toBe(other)
    expect(announcerOf(client({ host: "c" }), next())).toBe(other)
  })

  it("is shared by two clients of one instance that only differ in what the configuration does not say, without news", () => {
    const instance = child()()
    const announcer = announcerOf(client(a), instance)
    const told: Array<unknown> = []
    announcer.onRenewal(() => told.push("new"))
    expect(announcerOf(client({ ...a }), instance)).toBe(announcer)
    expect(told).toEqual([])
  })

  it("ends with a child of a dynamic supervisor, and not with an instance of that", () => {
    const outer = child("app/tenants")()
    const next = child("app/tenants/acme", outer, () => {})
    const announcer = announcerOf(client(a), next())
    expect(announcerOf(client(a), next())).toBe(announcer)
    expect(announcerOf(client(a), child("app/tenants/acme", outer, () => {})())).not.toBe(announcer)
  })

  it("outlives the child that a tree is built in", () => {
    const outer = child("app/data")
    const announcer = announcerOf(client(a), child("app/data/repo", outer())())
    expect(announcerOf(client(a), child("app/data/repo", outer())())).toBe(announcer)
    expect(announcerOf(client(a), child("app/data/other", outer())())).not.toBe(announcer)
  })
})
