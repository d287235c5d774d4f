/**
 * The part of the application that breaks: people come in as lines of text, and the worker that reads them trusts what it reads. It lives in a
 * tree of its own, which gives up after one restart in a minute, inside of a child of the application's tree, which then starts it anew.
 */
import { Repo, Supervised, SupervisionTree, TestSupervision } from "@effecto/core"
import { Context, Deferred, Effect, Layer, Queue } from "effect"
import { People } from "./tables.js"
import { step, tell } from "./transcript.js"

export class Feed extends Context.Tag("Feed")<
  Feed,
  {
    /** Takes a line, and is done when its person is in the database. */
    readonly take: (line: string) => Effect.Effect<string>
  }
>() {}

const personOf = (line: string) => {
  const [, firstName = "", lastName = "", age] = /^(\S+) (\S+) (\d+)$/.exec(line) ?? []
  if (age === undefined) throw new Error(`"${line}" is nobody`)
  return { firstName, lastName, age: Number(age) }
}

const FeedLive = Layer.scoped(
  Feed,
  Effect.gen(function* () {
    const lines = yield* Queue.unbounded<{ readonly line: string; readonly done: Deferred.Deferred<string> }>()
    yield* Queue.take(lines).pipe(
      Effect.flatMap(({ done, line }) =>
        Repo.insert(People, personOf(line)).pipe(Effect.flatMap(({ id }) => Deferred.succeed(done, `person ${id}`)))
      ),
      Effect.forever,
      Effect.forkScoped
    )
    return {
      take: (line) =>
        Effect.flatMap(Deferred.make<string>(), (done) =>
          Effect.zipRight(Queue.offer(lines, { line, done }), Deferred.await(done))
        )
    }
  })
)

export const Ingest = FeedLive.pipe(
  Supervised.layer({ id: "feed" }),
  SupervisionTree.layer({ name: "ingest", intensity: 1, period: "1 minute" }),
  Supervised.layer({ id: "ingest" })
)

export const theGiveUp = Effect.gen(function* () {
  const feed = yield* Feed
  const broken = step(() => feed.take("nobody").pipe(Effect.catchAllDefect(Effect.succeed)))
  const restarted = (path: string) =>
    Effect.map(TestSupervision.awaitRestart(path), (instance) => `instance ${instance}`)

  yield* tell("People also come in as lines of text. A line that is nobody crashes the worker that reads it;")
  yield* tell("whoever waits for it is told, and the tree that the worker lives in starts another.")
  yield* step(() => feed.take("Ada Lovelace 36"))
  yield* broken
  yield* step(() => restarted("app/ingest/feed"))

  yield* tell("Once more within a minute is too much for that tree: it gives up. To the application's tree that is")
  yield* tell("the end of one child, which it starts anew; all others, and the handle, stay as they are.")
  yield* broken
  yield* step(() => restarted("app/ingest"))
  yield* step(() => feed.take("Grace Hopper 85"))
})
