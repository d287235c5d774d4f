/**
 * What comes from the server on a connection, on its way to the driver: the rows of our own statements go to them, everything else goes on as it came.
 *
 *   socket ─▶ Intake ─┬─ rows of a statement of ours ─▶ the statement
 *                     └─ all else ─────────────────────▶ the driver's parser
 *
 * It knows of the protocol that each message is a byte and a length, and from the first one on it has to see all of them. So it is put there only where the
 * driver's parser stands between two messages. Rows in a small piece are left to the driver: taking them out would cost more than it spares.
 */

/** A statement of ours that rows may come for. */
export interface Taker {
  /** A row's bytes: from the number of its values on. */
  takeRow(bytes: Buffer, begin: number): void
}

/** A connection's socket, as far as it is listened to here. */
export interface Socket {
  listeners(event: "data"): ReadonlyArray<unknown>
  on(event: "data", listener: (bytes: Buffer) => void): unknown
  off(event: "data", listener: (bytes: Buffer) => void): unknown
}

/** A message's kind and its length. */
const head = 5
const dataRow = 68
/** Bytes that have come at once; with less in them there are a few rows at most. */
const large = 1024

export class Intake {
  /** Whose rows come now. */
  taker: Taker | undefined
  /** What has come of a head, or of a row, that is not there yet. */
  private held: Array<Buffer> = []
  private heldLength = 0
  private needed = 0
  /** How many bytes of a message that goes to the driver are still to come. */
  private passing = 0

  constructor(private readonly driver: (bytes: Buffer) => void) {}

  readonly take = (chunk: Buffer): void => {
    let bytes = chunk
    if (this.heldLength > 0) {
      this.held.push(chunk)
      this.heldLength += chunk.length
      if (this.heldLength < this.needed) return
      bytes = Buffer.concat(this.held, this.heldLength)
      this.held = []
      this.heldLength = 0
    }
    const { length } = bytes
    if (this.passing >= length) {
      this.passing -= length
      this.driver(bytes)
      return
    }
    let at = this.passing
    this.passing = 0
    // What is before has gone on.
    let from = 0
    let needed = 0
    while (at < length) {
      if (length - at < head) {
        needed = head
        break
      }
      const next = at + 1 + bytes.readUInt32BE(at + 1)
      if (bytes[at] === dataRow && length >= large && this.taker !== undefined) {
        if (next > length) {
          needed = next - at
          break
        }
        if (from < at) this.driver(bytes.subarray(from, at))
        const taker: Taker | undefined = this.taker
        // The driver may have told it that it is over.
        if (taker === undefined) from = at
        else {
          taker.takeRow(bytes, at + head)
          from = next
        }
        at = next
      } else if (next > length) {
        this.passing = next - length
        at = length
      } else at = next
    }
    if (at < length) {
      this.held = [bytes.subarray(at)]
      this.heldLength = length - at
      this.needed = needed
    }
    if (from < at) this.driver(from === 0 && at === length ? bytes : bytes.subarray(from, at))
  }
}

const begun = new Error("the parser has messages, or the beginning of one")

/**
 * Whether a parser has nothing. What comes to something is copied to it before anything else is done: there we throw. Going on would have it read once more
 * whatever it is reading now, when it is asked from within that: by a statement that was queued behind the one whose end it has just told.
 */
const isBetween = (driver: (bytes: Buffer) => void): boolean => {
  const nothing = Object.assign(Buffer.alloc(0), {
    copy: () => {
      throw begun
    }
  })
  try {
    driver(nothing)
    return true
  } catch (problem) {
    if (problem === begun) return false
    throw problem
  }
}

const intakes = new WeakMap<Socket, Intake>()

/** The intake of a connection; nothing where there is none, and cannot be one now. */
export const intakeOf = (socket: Socket): Intake | undefined => {
  const known = intakes.get(socket)
  if (known !== undefined) return known
  // A program may have given the driver a stream of its own.
  if (typeof socket.listeners !== "function" || typeof socket.off !== "function") return undefined
  const [theirs, ...others] = socket.listeners("data")
  if (typeof theirs !== "function" || others.length > 0) return undefined
  // Sound: what listens to a socket's data takes bytes.
  const driver = theirs as (bytes: Buffer) => void
  if (!isBetween(driver)) return undefined
  const intake = new Intake(driver)
  intakes.set(socket, intake)
  socket.on("data", intake.take)
  socket.off("data", driver)
  return intake
}
