/** A way to the server of the tests that can be shut: what a frozen server, or a network that swallows everything, looks like from here. */
import * as Net from "node:net"
import { PgClient } from "@effect/sql-pg"
import { Effect, type Scope } from "effect"

export interface Gate {
  readonly port: number
  /** From now on nothing gets through, in either direction, and nobody is told. */
  readonly shut: Effect.Effect<void>
  /** Only who is connected now waits; whoever comes later gets through. */
  readonly delay: Effect.Effect<void>
  /** What was held back arrives now. */
  readonly open: Effect.Effect<void>
}

export const gate: Effect.Effect<Gate, never, PgClient.PgClient | Scope.Scope> = Effect.gen(function* () {
  const { config } = yield* PgClient.PgClient
  const { host = "127.0.0.1", port = 5432 } = config
  const sockets = new Set<Net.Socket>()
  let isShut = false
  const server = Net.createServer((near) => {
    const far = host.startsWith("/") ? Net.connect(`${host}/.s.PGSQL.${port}`) : Net.connect(port, host)
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      sockets.add(from)
      from.pipe(to)
      from.on("error", () => to.destroy())
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
      if (isShut) from.unpipe().pause()
    }
    wires.set(near, far).set(far, near)
  })
  const wires = new Map<Net.Socket, Net.Socket>()
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  const address = server.address()
  const hold = () => {
    for (const socket of sockets) socket.unpipe().pause()
  }
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    shut: Effect.sync(() => {
      isShut = true
      hold()
    }),
    delay: Effect.sync(hold),
    open: Effect.sync(() => {
      isShut = false
      for (const socket of sockets) {
        const other = wires.get(socket)
        if (other !== undefined) socket.pipe(other)
      }
    })
  }
})
