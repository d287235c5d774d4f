/** What goes to the driver and what to a statement, however the server's messages are cut into pieces. */
import { EventEmitter } from "node:events"
import { describe, expect, it } from "vitest"
import { Intake, intakeOf } from "../../src/repo/intake.js"

/** A message of this kind, with as many bytes behind its head. */
const message = (kind: string, size: number, mark = 0): Buffer => {
  const bytes = Buffer.alloc(5 + size, mark)
  bytes.write(kind)
  bytes.writeUInt32BE(4 + size, 1)
  return bytes
}

/** The driver's parser, as far as it tells messages apart. */
const parser = (told: (kind: string, mark: number | undefined, size: number) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  return (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes])
    while (rest.length >= 5) {
      const size = rest.readUInt32BE(1) - 4
      if (rest.length < 5 + size) return
      told(String.fromCharCode(rest[0] ?? 0), size === 0 ? undefined : rest[5], size)
      rest = rest.subarray(5 + size)
    }
  }
}

/** What was made of messages that came in pieces of this length, in the order of their coming. */
const received = (messages: ReadonlyArray<Buffer>, length: number, until = Number.POSITIVE_INFINITY) => {
  const events: Array<string> = []
  const taken: Array<number> = []
  const driver = parser((kind, mark, size) => events.push(`${kind}${mark}:${size}`))
  const intake = new Intake(driver)
  const taker = {
    takeRow: (bytes: Buffer, begin: number) => {
      const size = bytes.readUInt32BE(begin - 4) - 4
      events.push(`D${bytes[begin]}:${size}`)
      expect(bytes.subarray(begin, begin + size).every((byte) => byte === bytes[begin])).toBe(true)
      taken.push(bytes[begin] ?? 0)
      if (taken.length === until) intake.taker = undefined
    }
  }
  intake.taker = taker
  const all = Buffer.concat(messages)
  for (let at = 0; at < all.length; at += length) intake.take(all.subarray(at, at + length))
  return { events, taken }
}

const rows = Array.from({ length: 90 }, (_, at) => message("D", 1 + ((at * 37) % 97), at + 1))
const answer = [
  message("2", 0),
  message("T", 60, 1),
  ...rows.slice(0, 50),
  message("N", 700, 2),
  ...rows.slice(50),
  message("D", 5000, 91),
  message("D", 2, 92),
  message("C", 12, 3),
  message("Z", 1, 73)
]
const whole = received(answer, 1).events

describe("an intake", () => {
  it("loses nothing and keeps the order, whatever the pieces", () => {
    expect(whole.length).toBe(answer.length)
    for (let length = 1; length < 4000; length += length < 1200 ? 1 : 97)
      expect(received(answer, length).events).toEqual(whole)
    expect(received(answer, 100_000).events).toEqual(whole)
  })

  it("gives rows of a large piece to who takes them, and those of small ones to the driver", () => {
    expect(received(answer, 100_000).taken.length).toBe(92)
    expect(received(answer, 1000).taken).toEqual([])
  })

  it("gives all to the driver when nobody takes any more", () => {
    const { events, taken } = received(answer, 100_000, 7)
    expect(events).toEqual(whole)
    expect(taken.length).toBe(7)
  })

  it("takes the place of the one who listens to a socket, once", () => {
    const socket = new EventEmitter()
    const heard: Array<number> = []
    socket.on("data", (bytes: Buffer) => heard.push(bytes.length))
    const intake = intakeOf(socket)
    expect(intake).toBeInstanceOf(Intake)
    expect(intakeOf(socket)).toBe(intake)
    socket.emit("data", message("Z", 1))
    // Before it was put there it looked whether the parser is between two messages.
    expect(heard).toEqual([0, 6])
    expect(socket.listenerCount("data")).toBe(1)
  })

  it("is not put where the parser is at its messages: it reads none of them again", () => {
    const socket = new EventEmitter()
    const heard: Array<string> = []
    const put: Array<unknown> = []
    let rest: Buffer = Buffer.alloc(0)
    // As `pg`'s parser: what it is at stays its own until all of it is read.
    socket.on("data", (bytes: Buffer) => {
      if (rest.length > 0) bytes.copy(rest, rest.length)
      else rest = bytes
      for (let at = 0; at < rest.length; at += 1 + rest.readUInt32BE(at + 1)) {
        heard.push(String.fromCharCode(rest[at] ?? 0))
        // A statement that was queued is submitted.
        if (rest[at] === 90) put.push(intakeOf(socket))
      }
      rest = Buffer.alloc(0)
    })
    socket.emit("data", Buffer.concat([message("C", 4), message("Z", 1)]))
    expect([heard, put]).toEqual([["C", "Z"], [undefined]])
    expect(intakeOf(socket)).toBeInstanceOf(Intake)
  })

  it("is not put where two listen, nor where the parser has the beginning of a message", () => {
    const socket = new EventEmitter()
    let rest = message("N", 10).subarray(0, 7)
    socket.on("data", (bytes: Buffer) => {
      const both = Buffer.alloc(rest.length + bytes.length)
      rest.copy(both)
      if (rest.length > 0) bytes.copy(both, rest.length)
      rest = both.subarray(0, 0)
    })
    const begun = rest
    expect(intakeOf(socket)).toBe(undefined)
    // It has it still, until the rest comes.
    expect(rest).toBe(begun)
    expect(intakeOf(socket)).toBe(undefined)
    socket.emit("data", Buffer.alloc(8))
    expect(intakeOf(socket)).toBeInstanceOf(Intake)
    const shared = new EventEmitter()
    for (const listener of [() => {}, () => {}]) shared.on("data", listener)
    expect(intakeOf(shared)).toBe(undefined)
  })
})
