/** Our own statements over TLS, where the driver's socket is another one than it began with. */
import net from "node:net"
import tls from "node:tls"
import { Model } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Exit, Redacted, Schema } from "effect"
import * as Table from "../../src/repo/Table.js"
import { EmbeddedPostgres } from "../../src/testing.js"
import { pool } from "./pools.js"

class Item extends Model.Class<Item>("Item")({ id: Schema.Number, name: Schema.String }) {}
const Items = Table.make(Item, { name: "items", key: "id" })

/** Both sides know this: there are no certificates. */
const psk = Buffer.from("0123456789abcdef0123456789abcdef", "hex")
const ciphers = "PSK-AES128-GCM-SHA256"
const maxVersion = "TLSv1.2"

/** Speaks TLS with who asks for it, and in the clear with the server behind it; its port. */
const encrypting = (behindIt: net.NetConnectOpts) =>
  Effect.acquireRelease(
    Effect.async<{ readonly port: number; readonly close: () => void }>((resume) => {
      const open = new Set<net.Socket>()
      const server = net.createServer((raw) => {
        open.add(raw)
        raw.on("error", () => {})
        raw.once("readable", () => {
          // The request for TLS.
          raw.read()
          raw.write("S")
          const secure = new tls.TLSSocket(raw, {
            isServer: true,
            secureContext: tls.createSecureContext({ ciphers, maxVersion }),
            pskCallback: () => psk
          } as tls.TLSSocketOptions)
          const behind = net.connect(behindIt)
          open.add(behind)
          for (const one of [secure, behind]) one.on("error", () => {})
          secure.pipe(behind).pipe(secure)
        })
      })
      server.listen(0, "127.0.0.1", () => {
        // Sound: it listens to a port.
        const { port } = server.address() as net.AddressInfo
        const close = () => {
          server.close()
          for (const one of open) one.destroy()
        }
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

describe("over TLS", () => {
  layer(EmbeddedPostgres, { excludeTestServices: true })((it) => {
    it.scoped("rows arrive, and a statement is stopped on the server when nobody waits for it any more", () =>
      Effect.gen(function* () {
        const { config } = yield* PgClient.PgClient
        const { host = "localhost", port: at = 5432 } = config
        const { port } = yield* encrypting(
          host.startsWith("/") ? { path: `${host}/.s.PGSQL.${at}` } : { host, port: at }
        )
        const { repo, sql } = yield* pool(1, {
          url: Redacted.make(`postgresql://postgres@127.0.0.1:${port}/${config.database}`),
          host: "127.0.0.1",
          port,
          ssl: {
            ciphers,
            maxVersion,
            pskCallback: () => ({ identity: "test", psk }),
            checkServerIdentity: () => undefined
          }
        })
        yield* sql`create table items (id int primary key, name text not null)`
        yield* sql`insert into items select i, 'item ' || i from generate_series(1, 5000) i`
        const all = yield* repo.all(Items)
        expect(all.length).toBe(5000)
        expect(all.every(({ id, name }) => name === `item ${id}`)).toBe(true)
        const slow = repo.all(Items, sql`id = 1 and pg_sleep(600) is not null`)
        expect(Exit.isFailure(yield* Effect.exit(Effect.timeout(slow, "50 millis")))).toBe(true)
        expect((yield* repo.fetch(Items, 1)).name).toBe("item 1")
      })
    )
  })
})
