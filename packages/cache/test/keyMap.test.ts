import { describe, expect, it } from "@effect/vitest"
import { Data, Equal, FastCheck, Hash } from "effect"
import { KeyMap, keyOf } from "../src/keyMap.js"

/** A key whose hash is chosen, to make collisions. */
class Key implements Equal.Equal {
  constructor(
    readonly hash: number,
    readonly name: string
  ) {}
  [Hash.symbol](): number {
    return this.hash
  }
  [Equal.symbol](that: unknown): boolean {
    return that instanceof Key && that.name === this.name
  }
}

describe("get, set, remove", () => {
  it("tells keys apart by value, by Equal, or else by reference", () => {
    const map = new KeyMap<unknown, { readonly key: unknown; readonly value: number }>(keyOf)
    const plain = { a: 1 }
    const keys = [1, "1", null, undefined, Number.NaN, true, plain, { a: 1 }, Data.tuple("a", 1), Data.tuple("a", 2)]
    for (const [value, key] of keys.entries()) map.set(key, { key, value })
    expect(map.size).toBe(keys.length)
    expect(keys.map((key) => map.get(key)?.value)).toEqual(keys.map((_, value) => value))
    expect(map.get(Data.tuple("a", 1))?.value).toBe(8)
    expect(map.get({ a: 1 })).toBeUndefined()
  })

  it("tells Dates and URLs apart as Equal does, by the moment and the address", () => {
    const map = new KeyMap<unknown, { readonly key: unknown; readonly value: number }>(keyOf)
    const [early, late, never] = [new Date(0), new Date(1), new Date(Number.NaN)]
    const keys = [early, late, never, new URL("http://a.test/x"), new URL("http://a.test/y"), early.getTime()]
    for (const [value, key] of keys.entries()) map.set(key, { key, value })
    const again = [
      new Date(0),
      new Date(1),
      new Date(Number.NaN),
      new URL("http://a.test/x"),
      new URL("http://a.test/y"),
      0
    ]
    for (const [place, key] of again.entries()) {
      expect(map.get(key)?.value).toBe(place)
      map.set(key, { key, value: place })
    }
    expect(map.size).toBe(keys.length)
    for (const key of keys) {
      const there = map.get(key)
      expect(there !== undefined && map.remove(key, there)).toBe(true)
    }
    expect(map.size).toBe(0)
  })

  it("removes only the very value it is given", () => {
    for (const key of ["a", Data.tuple("a")]) {
      const map = new KeyMap<unknown, { readonly key: unknown }>(keyOf)
      const [first, second] = [{ key }, { key }]
      map.set(key, first)
      map.set(key, second)
      expect([map.remove(key, first), map.size, map.get(key)]).toEqual([false, 1, second])
      expect([map.remove(key, second), map.remove(key, second), map.size]).toEqual([true, false, 0])
    }
  })

  it("agrees with a list of pairs, also where hashes collide", () => {
    const key = FastCheck.oneof(
      FastCheck.integer({ min: 0, max: 3 }),
      FastCheck.tuple(FastCheck.integer({ min: 0, max: 1 }), FastCheck.constantFrom("a", "b", "c")).map(
        ([hash, name]) => new Key(name === "a" ? 0 : hash * 0, name)
      )
    )
    const step = FastCheck.tuple(FastCheck.constantFrom("set", "remove", "clear" as const), key)
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 40 }), (steps) => {
        const map = new KeyMap<unknown, { readonly key: unknown }>(keyOf)
        let model: Array<{ readonly key: unknown }> = []
        for (const [what, key] of steps) {
          const there = model.find((value) => Equal.equals(value.key, key))
          expect(map.get(key)).toBe(there)
          if (what === "set") {
            const value = { key }
            map.set(key, value)
            model = [...model.filter((other) => other !== there), value]
          } else if (what === "remove" && there !== undefined) {
            expect(map.remove(key, there)).toBe(true)
            model = model.filter((other) => other !== there)
          } else if (what === "clear" && steps.length % 7 === 0) {
            map.clear()
            model = []
          }
          expect(map.size).toBe(model.length)
          expect(new Set(map.values())).toEqual(new Set(model))
        }
      })
    )
  })
})

describe("a large map that loses most of what it held", () => {
  it("is the same map all the time, while another takes its place", () => {
    const map = new KeyMap<number, { readonly key: number; readonly value: number }>(keyOf)
    const model = new Map<number, { readonly key: number; readonly value: number }>()
    const set = (key: number, value: number) => {
      const kept = { key, value }
      map.set(key, kept)
      model.set(key, kept)
    }
    const remove = (key: number) => {
      const there = model.get(key)
      if (there === undefined) return
      if (!map.remove(key, there) || map.remove(key, there)) throw new Error(`${key} was not removed, or twice`)
      model.delete(key)
    }
    const FILLED = 300_000
    for (let key = 0; key < FILLED; key += 1) set(key, key)
    let random = 1
    for (let turn = 0; turn < 500_000; turn += 1) {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) | 0
      const key = (random >>> 8) % FILLED
      if (turn % 16 === 0) set(key, turn)
      else if (turn % 2 === 0) remove((turn * 7) % FILLED)
      else remove(key)
      if (map.get(key) !== model.get(key) || map.size !== model.size) {
        expect([turn, map.get(key), map.size]).toEqual([turn, model.get(key), model.size])
      }
    }
    const all = [...map.values()].sort((one, other) => one.key - other.key)
    expect(all).toEqual([...model.values()].sort((one, other) => one.key - other.key))
    for (let slice = 0; slice < 1_000 && !map.settle(1_000); slice += 1);
    expect(map.size).toBe(model.size)
    for (const [key, value] of model) if (map.get(key) !== value) expect(map.get(key)).toBe(value)
    map.clear()
    expect([map.size, [...map.values()]]).toEqual([0, []])
  })
})
