/**
 * Who waits for whom among dynamic children. A build, or a finalizer, that starts a child waits until one of the same id has
 * decided itself; if that waits in its turn for the first, by whatever way, neither would ever go on.
 */
import type { DynamicChild } from "./dynamicchild.js"
import type { Instance } from "./instance.js"

/** What builds and finalizers of an instance wait for now, each as often as it is waited for. */
const waits = new WeakMap<Instance, Array<DynamicChild>>()

/** The instances that go on only when this one does: itself, and those that it is being built in, from the inside out. */
const heldUp = (caller: Instance | undefined): Array<Instance> => {
  const held: Array<Instance> = []
  for (let at = caller; at !== undefined && at.state !== "up"; ) {
    held.push(at)
    // Whoever built it is a supervisor, static or dynamic, and has this field.
    const owner = at.owner as { readonly parent: Instance | undefined }
    at = owner.parent
  }
  return held
}

/**
 * Notes, in the step in which it is asked, that a caller is going to wait for a child; the result takes it back. Notes nothing,
 * and answers with nothing, if the child waits for the caller.
 */
export const waiting = (caller: Instance | undefined, target: DynamicChild): (() => void) | undefined => {
  const held = heldUp(caller)
  const seen = new Set<Instance>()
  const reaches = (child: DynamicChild): boolean => {
    const { instance } = child
    if (instance === undefined || seen.has(instance)) return false
    seen.add(instance)
    return held.includes(instance) || (waits.get(instance)?.some(reaches) ?? false)
  }
  if (reaches(target)) return undefined
  for (const instance of held) {
    const list = waits.get(instance)
    if (list === undefined) waits.set(instance, [target])
    else list.push(target)
  }
  return () => {
    for (const instance of held) {
      const list = waits.get(instance)
      const index = list?.indexOf(target) ?? -1
      if (index >= 0) list?.splice(index, 1)
    }
  }
}
