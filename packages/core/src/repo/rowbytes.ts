/**
 * The rows of an answer as they come from the server: the bytes of each, read into the list of its values.
 *
 * The driver makes a text of every value, and gives each to what the program has set for reading its type. That is done here too, but for what the driver
 * itself reads integers by: they are read from their digits. A third of what a list of a thousand rows cost were the calls that made texts of its numbers.
 */

export type Read = (value: string) => unknown

/** A column as the server describes it. */
export interface Described {
  readonly dataTypeID: number
  readonly format: "text" | "binary"
}

/** What reads columns of a type. */
export type Reader = (type: number, format: "text" | "binary") => Read

/** int2, int4 and oid: whole numbers that are never too large for one. */
const integers: ReadonlySet<number> = new Set([21, 23, 26])

/** However it is written down: the program may have been bundled. */
const parsesInteger =
  /^(?:function\s*[\w$]*\s*\(([\w$]+)\)\s*\{\s*return parseInt\(\1,\s*10\);?\s*\}|\(?([\w$]+)\)?\s*=>\s*parseInt\(\2,\s*10\))$/

/** Of int2, int4 and oid the least and the greatest. */
const samples = [0, -2147483648, 4294967295]

const known = new WeakMap<Read, boolean>()

/**
 * Whether a function does nothing but read whole numbers. It has no text but that, which alone could call a `parseInt` of the program's own: so it is tried as
 * well. The driver does not say which reader it began with, and a program may have set another one.
 */
const isInteger = (read: Read | undefined): boolean => {
  if (typeof read !== "function") return false
  let isOne = known.get(read)
  if (isOne === undefined) {
    isOne =
      parsesInteger.test(Function.prototype.toString.call(read)) &&
      samples.every((sample) => read(String(sample)) === sample)
    known.set(read, isOne)
  }
  return isOne
}

/** Of a text's bytes, without the checks and the choice of an encoding that `toString` begins with. */
interface Sliced {
  utf8Slice(begin: number, end: number): string
}

/** Node's own, which its types do not have. */
const slices = "utf8Slice" in Buffer.prototype

const textOf = (bytes: Buffer, begin: number, end: number): string => {
  // One of 128 texts that are there already: booleans are such.
  if (end === begin + 1) {
    const byte = bytes[begin] ?? 0
    if (byte < 128) return String.fromCharCode(byte)
  }
  // Sound: it is there.
  return slices ? (bytes as unknown as Sliced).utf8Slice(begin, end) : bytes.toString("utf8", begin, end)
}

const minus = 45
const zero = 48

const integerOf = (bytes: Buffer, begin: number, end: number): number => {
  const isNegative = bytes[begin] === minus
  let number = 0
  for (let at = isNegative ? begin + 1 : begin; at < end; at += 1) number = number * 10 + ((bytes[at] ?? zero) - zero)
  return isNegative ? -number : number
}

/** The columns of an answer. */
export class Columns {
  private readonly reads: ReadonlyArray<Read | undefined>
  private readonly areIntegers: ReadonlyArray<boolean>

  constructor(described: ReadonlyArray<Described>, reader: Reader) {
    this.reads = described.map(({ dataTypeID, format }) => reader(dataTypeID, format))
    this.areIntegers = described.map(
      ({ dataTypeID, format }, at) => format === "text" && integers.has(dataTypeID) && isInteger(this.reads[at])
    )
  }

  /** A row that begins there, with the number of its values. Throws what reading one of them throws. */
  row(bytes: Buffer, begin: number): ReadonlyArray<unknown> {
    const { areIntegers, reads } = this
    const count = bytes.readUInt16BE(begin)
    const values = new Array<unknown>(count)
    let at = begin + 2
    for (let place = 0; place < count; place += 1) {
      const length = bytes.readInt32BE(at)
      at += 4
      if (length < 0) values[place] = null
      else {
        const end = at + length
        if (areIntegers[place] === true) values[place] = integerOf(bytes, at, end)
        else {
          const text = textOf(bytes, at, end)
          const read = reads[place]
          values[place] = read === undefined ? text : read(text)
        }
        at = end
      }
    }
    return values
  }

  /** A row whose texts the driver has made: they become values where they are. */
  texts(values: Array<unknown>): ReadonlyArray<unknown> {
    const { reads } = this
    for (let place = 0; place < values.length; place += 1) {
      const value = values[place]
      const read = reads[place]
      // Sound: texts, as they were asked for.
      if (value !== null && read !== undefined) values[place] = read(value as string)
    }
    return values
  }
}
