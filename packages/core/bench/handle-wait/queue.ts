/** The server of today, written by hand: a Queue of questions with a Deferred each, and a fiber that answers. */
import { Deferred, Effect, Queue } from "effect"
import { calling, direct, type It } from "../calls.js"

const serve = async () => {
  const state = direct()
  const wait = await Effect.runPromise(
    Effect.gen(function* () {
      const questions = yield* Queue.unbounded<{ readonly n: number; readonly reply: Deferred.Deferred<number> }>()
      const answer = Effect.flatMap(Queue.take(questions), ({ n, reply }) =>
        Effect.flatMap(state.it.wait(n), (answer) => Deferred.succeed(reply, answer))
      )
      yield* Effect.forkIn(Effect.forever(answer), state.scope)
      return (n: number) =>
        Effect.flatMap(Deferred.make<number>(), (reply) =>
          Effect.zipRight(Queue.offer(questions, { n, reply }), Deferred.await(reply))
        )
    })
  )
  const it: It = { ...state.it, wait }
  return { it, scope: state.scope }
}

export default calling(serve, (it, n) => it.wait(n))
