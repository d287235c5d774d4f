/** What the heartbeat of a session lock makes of its answers, on a connection that gives what the test says. */
import { SqlClient, SqlError } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, TestClock } from "effect"
import { vi } from "vitest"
import * as AdvisoryLock from "../../src/locks/AdvisoryLock.js"
import type { OwnConnection } from "../../src/repo/ownconnection.js"

const given: { connection: OwnConnection | undefined } = vi.hoisted(() => ({ connection: undefined }))

vi.mock("../../src/repo/ownconnection.js", () => ({ ownConnection: () => Effect.succeed(given.connection) }))

// Nothing is asked of it: the connection above stands for what it would open.
const client = {} as SqlClient.SqlClient

describe("the heartbeat of a session lock", () => {
  it.scoped("goes on asking after an error, which is an answer too, and ends with the connection", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const events: Array<string> = []
      given.connection = {
        run: (text) =>
          Effect.suspend(() => {
            events.push(text)
            return text === "select" && events.length < 4
              ? Effect.fail(new SqlError.SqlError({ cause: new Error("canceling statement due to user request") }))
              : Effect.succeed({ rows: [] })
          }),
        close: Effect.void,
        ended: Deferred.await(ended)
      }
      const { lost } = yield* AdvisoryLock.session("leader", { heartbeat: "1 second" })
      const told = yield* Effect.fork(Effect.flip(lost))
      const taken = events.splice(0)
      expect(taken).toHaveLength(1)
      yield* TestClock.adjust("5 seconds")
      expect(events).toEqual(["select", "select", "select", "select", "select"])
      yield* Deferred.succeed(ended, undefined)
      expect((yield* Fiber.join(told))._tag).toBe("LockLost")
      yield* TestClock.adjust("5 seconds")
      expect(events).toHaveLength(5)
    }).pipe(Effect.provideService(SqlClient.SqlClient, client))
  )
})

describe("the options of a session lock", () => {
  it.scoped("are refused by name and value before a connection is opened", () =>
    Effect.gen(function* () {
      // What is opened in spite of that could not even be asked to close.
      given.connection = undefined
      const problems = yield* Effect.forEach([{ wait: -1 }, { heartbeat: Number.NaN }, { heartbeat: 0 }], (options) =>
        Effect.map(Effect.exit(AdvisoryLock.session("leader", options)), (exit) =>
          Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "taken"
        )
      )
      expect(problems).toEqual([
        'Error: wait is -1; it has to be a duration of zero or more, such as "5 seconds"',
        'Error: heartbeat is NaN; it has to be a duration of zero or more, such as "5 seconds"',
        "Error: heartbeat is 0 ms; it has to be longer"
      ])
    }).pipe(Effect.provideService(SqlClient.SqlClient, client))
  )
})
