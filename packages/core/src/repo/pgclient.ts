/** What is known of `pg`'s client and of its side of the protocol beyond what it declares, and how a connection of @effect/sql-pg comes to it. */
import type { SqlConnection } from "@effect/sql"
import { Predicate } from "effect"
import type { Call, CallWire, Command, Done } from "./call.js"
import type { Pipeline } from "./pipeline.js"
import type { Reader } from "./rowbytes.js"

type Listener = (event: "connect" | "sslconnect" | "error" | "end" | "readyForQuery", listener: () => void) => void

/** `pg`'s Connection: its side of the protocol. */
export interface Wire extends CallWire {
  readonly stream: CallWire["stream"] & { destroy(): void }
  readonly on: Listener
  readonly off: Listener
  connect(portOrPath: number | string, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: unknown): void
}

/** `pg`'s Client, as far as it is used here. */
export interface Driver {
  readonly connection: Wire
  readonly host: string
  readonly port: number
  readonly ssl: unknown
  readonly sslNegotiation?: string
  readonly processID: number | null
  readonly secretKey: unknown
  query(statement: unknown, parameters: ReadonlyArray<unknown>, done: Done): void
  query(call: Call | Command | Pipeline): void
  /** What reads a column's values. */
  getTypeParser?: Reader
  /** Several statements at once, of which only its own queries are to be. */
  readonly pipeline?: boolean
  /** Values in another format than text. */
  readonly binary?: boolean
  end(): Promise<void>
  getTransactionStatus?(): string | null
  readonly readyForQuery?: boolean
  /** What was handed to it and not sent. */
  readonly _queryQueue?: Array<unknown>
  readonly _queryable?: boolean
  readonly _ending?: boolean
}

/** What statements are run on. */
export type Runs = Pick<SqlConnection.Connection, "executeRaw" | "executeValues">

/** What a connection of @effect/sql-pg runs its statements by: it keeps that in `pg`. */
export const clientOf = (connection: object): unknown =>
  Predicate.hasProperty(connection, "pg") ? connection.pg : undefined

/** Looked at once: each statement asks several times. */
const drivers = new WeakMap<object, Driver | undefined>()

export const driverOf = (connection: Runs): Driver | undefined => {
  const driver = clientOf(connection)
  if (typeof driver !== "object" || driver === null) return undefined
  let known = drivers.get(driver)
  if (known === undefined && !drivers.has(driver)) {
    known = asDriver(driver)
    drivers.set(driver, known)
  }
  return known
}

const asDriver = (driver: object): Driver | undefined =>
  Predicate.hasProperty(driver, "query") &&
  Predicate.hasProperty(driver, "end") &&
  Predicate.hasProperty(driver, "connection") &&
  Predicate.hasProperty(driver.connection, "stream")
    ? // Sound: what is called was looked at, and the native client of `pg` has no `connection`.
      (driver as unknown as Driver)
    : undefined
