/**
 * Keys of rows as a cache files them: equal ones are one key, whatever objects they are.
 *
 * Primitives, dates and what has an equality of its own (DateTime, BigDecimal) stay as they are. Bytes are compared by their contents, and so are plain objects
 * and arrays, which are other objects each time. Anything else is compared by reference, and so never found again: that costs a read and is never wrong.
 */
import * as Announcement from "@effecto/core/Announcement"
import { Data, Equal, Hash } from "effect"

/** The contents of a byte array, which nobody can change any more. */
export class Bytes implements Equal.Equal {
  private readonly text: string

  private constructor(readonly bytes: Uint8Array) {
    this.text = bytes.join()
  }

  static of(bytes: Uint8Array): Bytes {
    return new Bytes(Uint8Array.from(bytes))
  }

  [Equal.symbol](that: unknown): boolean {
    return that instanceof Bytes && that.text === this.text
  }

  [Hash.symbol](): number {
    return Hash.string(this.text)
  }
}

const structs: unknown = Object.getPrototypeOf(Data.struct({}))

const fieldsOf = (key: object, each: (value: unknown) => unknown): Record<string, unknown> =>
  Object.fromEntries(Object.entries(key).map(([name, value]) => [name, each(value)]))

const structOf = (key: object): unknown => {
  for (const value of Object.values(key))
    if (typeof value === "object" && value !== null) return Data.struct(fieldsOf(key, comparable))
  return Data.struct(key as Record<string, unknown>) // an object of no class
}

/** The key as a cache files it. */
export const comparable = (key: unknown): unknown => {
  if (typeof key !== "object" || key === null) return key
  if (key instanceof Uint8Array) return Bytes.of(key)
  if (Array.isArray(key)) return Data.array(key.map(comparable))
  const prototype: unknown = Object.getPrototypeOf(key)
  return prototype === Object.prototype || prototype === null || prototype === structs ? structOf(key) : key
}

/** The key as the Repo takes it. */
export const given = (key: unknown): unknown => {
  if (typeof key !== "object" || key === null) return key
  if (key instanceof Bytes) return key.bytes
  if (Array.isArray(key)) return key.map(given)
  return Object.getPrototypeOf(key) === structs ? fieldsOf(key, given) : key
}

/** Whether no other key, as a cache files them, can be the same to a database. */
export const hasOneSpelling = (key: unknown): boolean => Announcement.hasOneSpelling(given(key))
