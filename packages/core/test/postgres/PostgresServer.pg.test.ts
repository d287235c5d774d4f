import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { SqlClient } from "@effect/sql"
import { describe, expect, it, vi } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import * as PostgresServer from "../../src/postgres/PostgresServer.js"
import { EmbeddedPostgres } from "../../src/testing.js"

const folderOf = (server: PostgresServer.Service): string =>
  new URL(Redacted.value(server.url)).searchParams.get("host") ?? "?"
const postmaster = (folder: string): number =>
  Number(readFileSync(join(folder, "data", "postmaster.pid"), "utf8").split("\n")[0])
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
const service = (server: PostgresServer.Service) => Layer.succeed(PostgresServer.PostgresServer, server)
const withUrl = (url: string) => Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["DATABASE_URL", url]])))
const clientAt = (url: string) =>
  PostgresServer.client().pipe(Layer.provide(PostgresServer.layer()), Layer.provide(withUrl(url)))

/** Runs the program with a temporary folder of its own, hands both to `use` once the server is up, and waits until the folder is empty. */
const aroundHeldServer = async (use: (program: ReturnType<typeof spawn>, pid: number) => void): Promise<number> => {
  const temporary = mkdtempSync(join(tmpdir(), "held-"))
  chmodSync(temporary, 0o777)
  try {
    const program = spawn(process.execPath, [fileURLToPath(new URL("./programs/holdServer.mjs", import.meta.url))], {
      env: { ...process.env, TMPDIR: temporary },
      stdio: ["ignore", "pipe", "inherit"]
    })
    const [line] = await once(program.stdout, "data")
    expect(String(line)).toBe("up\n")
    const [folder] = readdirSync(temporary)
    const pid = postmaster(join(temporary, folder ?? "?"))
    expect(isAlive(pid)).toBe(true)
    const emptied = new Promise<void>((resolve) => {
      const watcher = watch(temporary, () => {
        if (readdirSync(temporary).length > 0) return
        watcher.close()
        resolve()
      })
    })
    use(program, pid)
    await emptied
    return pid
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

describe("PostgresServer.make", () => {
  it.scoped("starts a server on which two connections really contend for one lock", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      const holder = yield* PostgresServer.client({ maxConnections: 1 }).pipe(
        Layer.provide(service(server)),
        Layer.build
      )
      const other = yield* PostgresServer.client({ maxConnections: 1 }).pipe(
        Layer.provide(service(server)),
        Layer.build
      )
      const take = Effect.flatMap(
        SqlClient.SqlClient,
        (sql) => sql<{ pid: number; taken: boolean }>`select pg_backend_pid() as pid, pg_try_advisory_lock(1) as taken`
      )
      const [first] = yield* Effect.provide(take, holder)
      const [second] = yield* Effect.provide(take, other)
      expect([first?.taken, second?.taken]).toEqual([true, false])
      expect(first?.pid).not.toBe(second?.pid)
    })
  )

  it.scoped("leaves no process and no file when its scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const server = yield* PostgresServer.make().pipe(Scope.extend(scope))
      const folder = folderOf(server)
      const pid = postmaster(folder)
      expect(isAlive(pid)).toBe(true)
      yield* Scope.close(scope, Exit.void)
      expect(isAlive(pid)).toBe(false)
      expect(() => readdirSync(folder)).toThrow("ENOENT")
    })
  )

  it.scoped("leaves nothing when it is interrupted while the server starts", () =>
    Effect.gen(function* () {
      const temporary = mkdtempSync(join(tmpdir(), "interrupted-"))
      chmodSync(temporary, 0o777)
      vi.stubEnv("TMPDIR", temporary)
      const fiber = yield* Effect.fork(Effect.scoped(PostgresServer.make()))
      yield* Effect.yieldNow()
      vi.unstubAllEnvs()
      expect(readdirSync(temporary)).toHaveLength(1)
      yield* Fiber.interrupt(fiber)
      expect(readdirSync(temporary)).toEqual([])
      rmSync(temporary, { recursive: true })
    })
  )

  it.scoped("reports a server that cannot start with the end of its log and the remedy", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(PostgresServer.make({ settings: { shared_buffers: "plenty" } }))
      expect(error.reason).toBe("startFailed")
      expect(error.message).toContain('invalid value for parameter "shared_buffers": "plenty"')
      expect(error.message).toContain("DATABASE_URL")
    })
  )
})

describe("a program that holds a server", () => {
  it("takes the server and its files with it when it is killed", async () => {
    const pid = await aroundHeldServer((program) => program.kill("SIGKILL"))
    expect(isAlive(pid)).toBe(false)
  })

  it("takes the server and its files with it on Ctrl-C", async () => {
    const pid = await aroundHeldServer((program) => program.kill("SIGINT"))
    expect(isAlive(pid)).toBe(false)
  })

  it("leaves no files when the server itself is killed and the program ends after it", async () => {
    await aroundHeldServer((program, pid) => {
      process.kill(pid, "SIGKILL")
      program.kill("SIGINT")
    })
  })
})

describe("PostgresServer.layer", () => {
  const problem = (url: string) => Effect.flip(Effect.scoped(Layer.build(clientAt(url))))

  it.scoped("uses the server that DATABASE_URL names and never shows its password", () =>
    Effect.gen(function* () {
      const server = yield* Effect.provide(
        PostgresServer.PostgresServer,
        PostgresServer.layer().pipe(Layer.provide(withUrl("postgres://app:secret@db.example:6543/shop")))
      )
      expect(server.label).toBe("PostgreSQL at db.example:6543/shop")
      expect(server.embedded).toBe(false)
      expect(JSON.stringify(server)).not.toContain("secret")
    })
  )

  it.scoped("says what is wrong with an address that is none", () =>
    Effect.gen(function* () {
      expect(String(yield* problem("localhost"))).toContain(
        "DATABASE_URL is not a URL. It has to look like postgresql://"
      )
      expect(String(yield* problem("mysql://localhost/shop"))).toContain(
        "DATABASE_URL starts with mysql://, which is not PostgreSQL"
      )
    })
  )

  it.scoped("says what cannot be decoded, and which file cannot be read", () =>
    Effect.gen(function* () {
      const stray =
        "DATABASE_URL has a % that no two hexadecimal digits follow; as a character of its own it is written %25."
      expect(String(yield* problem("postgresql://app:secret@%zz/shop"))).toContain(stray)
      expect(String(yield* problem("postgresql://app:100%@localhost/shop"))).toContain(stray)
      const missing = yield* problem("postgresql://app@localhost/shop?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")
      expect(String(missing)).toContain(
        "a file that DATABASE_URL names cannot be read (ENOENT: no such file or directory"
      )
    })
  )

  it.scoped("says that nothing listens on a closed port", () =>
    Effect.gen(function* () {
      const listener = createServer().listen(0, "127.0.0.1")
      yield* Effect.promise(() => once(listener, "listening"))
      const address = listener.address()
      const port = typeof address === "object" ? address?.port : undefined
      yield* Effect.promise(() => new Promise((resolve) => listener.close(resolve)))
      const error = yield* problem(`postgresql://app:secret@127.0.0.1:${port}/shop`)
      expect(String(error)).toContain(
        `could not connect to PostgreSQL at 127.0.0.1:${port}/shop: nothing listens there.`
      )
      expect(String(error)).not.toContain("secret")
    })
  )

  it.scoped("says that the password is wrong, that the database or the socket is missing", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "hba-"))
      chmodSync(folder, 0o755)
      writeFileSync(join(folder, "pg_hba.conf"), "local all app scram-sha-256\nlocal all all trust\n", { mode: 0o644 })
      const server = yield* PostgresServer.make({ settings: { hba_file: join(folder, "pg_hba.conf") } })
      rmSync(folder, { recursive: true })
      yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`create role app login password 'right'`).pipe(
        Effect.provide(PostgresServer.client().pipe(Layer.provide(service(server))))
      )
      const at = (user: string, database: string) =>
        problem(`postgresql://${user}@localhost/${database}?host=${encodeURIComponent(folderOf(server))}`)
      expect(String(yield* at("app:wrong", "postgres"))).toContain("it refused the password")
      expect(String(yield* at("app", "postgres"))).toContain("it asks for a password")
      expect(String(yield* at("postgres", "nowhere"))).toContain("it has no such database")
      expect(String(yield* problem("postgresql://app@localhost/shop?host=/nowhere"))).toContain(
        "there is no socket at that path"
      )
    })
  )

  it.scoped("says that the user may not create the database of temporaryDatabase", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`create role guest login`).pipe(
        Effect.provide(PostgresServer.client().pipe(Layer.provide(service(server))))
      )
      const url = `postgresql://guest@localhost/postgres?host=${encodeURIComponent(folderOf(server))}`
      const error = yield* PostgresServer.temporaryDatabase().pipe(
        Layer.provide(service({ ...server, url: Redacted.make(url) })),
        Layer.build,
        Effect.flip
      )
      expect(error.message).toBe(
        "could not create a database on the embedded PostgreSQL: its user may not do that. Give it the right (alter role … createdb), or use another user in DATABASE_URL."
      )
    })
  )

  it.scoped("refuses a connectTimeout that is no time, by its name", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      for (const [connectTimeout, shown] of [
        ["soon", '"soon"'],
        [-1, "-1"],
        [0, "0 ms"]
      ] as const) {
        const client = PostgresServer.client({ connectTimeout: connectTimeout as number })
        const exit = yield* Effect.exit(Layer.build(client.pipe(Layer.provide(service(server)))))
        expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toContain(`connectTimeout is ${shown}; it has`)
      }
    })
  )

  it.scopedLive("waits for a free place for as long as it takes, with a connectTimeout that has no end", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      const client = PostgresServer.client({ maxConnections: 1, connectTimeout: Number.POSITIVE_INFINITY })
      const rows = yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const [waiting] = yield* Effect.scoped(
          Effect.flatMap(sql.reserve, (held) =>
            Effect.all([Effect.fork(sql`select 1 as one`), held.executeRaw("select pg_sleep(0.05)", [])])
          )
        )
        return yield* Fiber.join(waiting)
      }).pipe(Effect.provide(client.pipe(Layer.provide(service(server)))))
      expect(rows).toEqual([{ one: 1 }])
    })
  )

  it.scoped("closes its pool when the layer is closed", () =>
    Effect.gen(function* () {
      const server = yield* PostgresServer.make()
      const sessions = Effect.flatMap(
        SqlClient.SqlClient,
        (sql) =>
          sql<{
            name: string
          }>`select application_name as name from pg_stat_activity where backend_type = 'client backend'`
      )
      const scope = yield* Scope.make()
      yield* PostgresServer.client({ applicationName: "first" }).pipe(
        Layer.provide(service(server)),
        Layer.buildWithScope(scope)
      )
      yield* Scope.close(scope, Exit.void)
      const rows = yield* Effect.provide(
        sessions,
        PostgresServer.client({ applicationName: "second" }).pipe(Layer.provide(service(server)))
      )
      expect(rows.map(({ name }) => name)).toEqual(["second"])
    })
  )
})

describe("EmbeddedPostgres", () => {
  it.scoped("gives each layer a database of its own and drops it at the end", () =>
    Effect.gen(function* () {
      const databases = Effect.flatMap(SqlClient.SqlClient, (sql) =>
        Effect.map(sql<{ name: string }>`select current_database() as name`, (rows) => rows[0]?.name ?? "?")
      )
      const names = yield* Effect.all([
        Effect.provide(databases, EmbeddedPostgres),
        Effect.provide(databases, EmbeddedPostgres)
      ])
      expect(new Set(names).size).toBe(2)
      const left = yield* Effect.provide(
        Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql`select datname from pg_database where datname in ${sql.in(names)}`
        ),
        EmbeddedPostgres
      )
      expect(left).toEqual([])
    })
  )
})
