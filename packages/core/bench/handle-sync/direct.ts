import { calling, direct } from "../calls.js"

export default calling(direct, (it, n) => it.sync(n))
