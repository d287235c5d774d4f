import { calling, handle } from "../calls.js"

export default calling(handle, (it, n) => it.wait(n))
