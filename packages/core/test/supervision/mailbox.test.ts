import { describe, expect, it } from "@effect/vitest"
import { Mailbox } from "../../src/supervision/mailbox.js"

describe("Mailbox", () => {
  it("keeps the order, and lets go of what was read, when another letter always comes before the last is read", () => {
    const mailbox = new Mailbox<number>()
    const read: Array<number | undefined> = []
    const sent = Array.from({ length: 5000 }, (_, n) => n)
    mailbox.send(0)
    for (let n = 1; n < 5000; n++) {
      mailbox.send(n)
      read.push(mailbox.next())
    }
    // What it holds is no part of what it says.
    const held = (mailbox as unknown as { readonly letters: ReadonlyArray<unknown> }).letters.length
    expect(held).toBeLessThan(2048)
    expect([...read, mailbox.next()]).toEqual(sent)
    expect(mailbox.next()).toBe(undefined)
  })
})
