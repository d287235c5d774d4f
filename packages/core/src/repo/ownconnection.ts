/**
 * A connection beside the pool, for what has to outlive statements and transactions and must not take a place from them: a lock of a session.
 *
 * It is made like the pool's own: by the driver's class, to the same server. What is needed for that is read off a connection that the pool has, once.
 */
import { type SqlClient, type SqlConnection, SqlError } from "@effect/sql"
import { Deferred, Effect, Predicate, type Scope } from "effect"
import { uninterruptibleMask } from "../primitives.js"
import { type Database, databaseOf } from "./database.js"
import { discard, execute } from "./driver.js"
import { frameOf } from "./frame.js"
import { clientOf } from "./pgclient.js"

/** `pg`'s Client, as far as it is used here. */
interface Client {
  connect(done: (error: Error | null | undefined) => void): void
  end(): Promise<void>
  on(event: "error", listener: (error: unknown) => void): void
  on(event: "end", listener: () => void): void
  on(event: "notification", listener: (notification: Notified) => void): void
}

/** What `pg` makes of a NOTIFY. */
interface Notified {
  readonly channel: string
  readonly payload?: string | undefined
}

/** Who is told of what happens on a connection, synchronously and in the driver's own call: it must not throw. */
export interface Ears {
  readonly notified: (channel: string, payload: string) => void
  readonly ended: () => void
}

type MakeClient = () => Client

const makers = new WeakMap<Database, Maker>()

/** What a client can be made with instead of a password: what gives it, asked each time. */
export type Password = () => string | Promise<string>

interface Maker {
  readonly make: MakeClient
  readonly password: unknown
}

/** How to make another client like this one. A function that a pool got for its password is gone from a connection that has used it. */
const makerOf = (connection: SqlConnection.Connection, given: Password | undefined): Maker | undefined => {
  const driver = clientOf(connection)
  if (!Predicate.hasProperty(driver, "connectionParameters") || typeof driver.connectionParameters !== "object")
    return undefined
  // Sound: what `pg` keeps of how a client was made, and the client's own class.
  const { application_name, client_encoding, database, host, options, password, port, ssl, sslnegotiation, user } =
    driver.connectionParameters as Readonly<Record<string, unknown>>
  const Class = driver.constructor as new (options: Readonly<Record<string, unknown>>) => Client
  const own = given ?? (Predicate.hasProperty(driver, "password") ? driver.password : password)
  const make = () =>
    new Class({
      application_name,
      client_encoding,
      database,
      host,
      options,
      password: own,
      port,
      ssl,
      sslnegotiation,
      user,
      keepAlive: true,
      connectionTimeoutMillis: 10_000
    })
  return { make, password: own }
}

const unknownDriver = new SqlError.SqlError({
  cause: new Error("the driver of this client is not `pg`, which a connection beside the pool is made with"),
  message: "Failed to open a connection"
})

const keep = (database: Database, connection: SqlConnection.Connection) => {
  const made = makerOf(connection, database.options.password)
  if (made === undefined) return Effect.fail(unknownDriver)
  makers.set(database, made)
  return Effect.succeed(made)
}

/** Read off what the pool gives now. */
const fresh = (database: Database): Effect.Effect<Maker, SqlError.SqlError> =>
  uninterruptibleMask((restore) =>
    Effect.flatMap(database.take(restore), ({ connection, giveBack }) =>
      Effect.ensuring(keep(database, connection), giveBack)
    )
  )

/** From the transaction the fiber is in, so that an exhausted pool is not waited for; or from the pool, the first time. */
const maker = (database: Database): Effect.Effect<Maker, SqlError.SqlError> =>
  Effect.withFiberRuntime((fiber) => {
    const known = makers.get(database)
    if (known !== undefined) return Effect.succeed(known)
    const held = frameOf(fiber.currentContext, database.client) ?? database.ground
    return held === undefined ? fresh(database) : keep(database, held.session.connection)
  })

/** The server does not know this user by this password (any more). */
const isRefusal = ({ cause }: SqlError.SqlError): boolean => {
  const { code }: { readonly code?: unknown } = Object(cause)
  return code === "28P01" || code === "28000"
}

/** A connection that only its owner uses. */
export interface OwnConnection {
  readonly run: (
    text: string,
    parameters?: ReadonlyArray<unknown>,
    limit?: number
  ) => Effect.Effect<unknown, SqlError.SqlError>
  readonly close: Effect.Effect<void>
  /** Is done when the connection has ended, whoever ended it. */
  readonly ended: Effect.Effect<void>
}

/** How long the server may take for a farewell, in milliseconds. */
const farewell = 1000

/**
 * Opens a connection for the length of a scope; `before` is run on it when the scope is closed, if it still can be. Where passwords change, that of the
 * connection it was read off may be an old one: then it is read off another one, once.
 */
export const ownConnection = (
  client: SqlClient.SqlClient,
  before: string,
  ears?: Ears
): Effect.Effect<OwnConnection, SqlError.SqlError, Scope.Scope> => {
  const database = databaseOf(client)
  return Effect.flatMap(maker(database), (first) =>
    Effect.catchIf(opened(first.make, before, ears), isRefusal, (refusal) =>
      Effect.flatMap(fresh(database), (other) =>
        other.password === first.password ? Effect.fail(refusal) : opened(other.make, before, ears)
      )
    )
  )
}

const opened = (
  make: MakeClient,
  before: string,
  ears: Ears | undefined
): Effect.Effect<OwnConnection, SqlError.SqlError, Scope.Scope> =>
  uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const driver = make()
      // Sound: what runs statements looks at the driver first, and finds it.
      const connection = { pg: driver } as unknown as SqlConnection.Connection
      let isOpen = false
      let isOver = false
      const over = () => {
        if (isOver) return
        isOver = true
        Deferred.unsafeDone(ended, Effect.void)
        if (isOpen) ears?.ended()
      }
      // Without a listener an error would end the process.
      driver.on("error", over)
      driver.on("end", over)
      if (ears !== undefined) driver.on("notification", ({ channel, payload }) => ears.notified(channel, payload ?? ""))
      const connected = Effect.async<void, SqlError.SqlError>((resume) => {
        driver.connect((cause) => {
          isOpen = !cause
          resume(
            cause ? Effect.fail(new SqlError.SqlError({ cause, message: "Failed to open a connection" })) : Effect.void
          )
        })
      })
      yield* Effect.onError(restore(connected), () => discard(connection))
      yield* Effect.addFinalizer(() =>
        Effect.flatMap(Deferred.isDone(ended), (isOver) =>
          isOver
            ? Effect.void
            : Effect.zipRight(Effect.ignore(execute(connection, before, [], farewell)), discard(connection))
        )
      )
      return {
        run: (text, parameters = [], limit) => execute(connection, text, parameters, limit),
        close: discard(connection),
        ended: Deferred.await(ended)
      } satisfies OwnConnection
    })
  )
