/* The browser's side of the widget: the page in a frame, and messages about its inputs both ways. */

function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "Explanation";
  frame.srcdoc = model.get("page");
  frame.style.cssText = "width: 100%; height: 46rem; border: 1px solid #8884; border-radius: 8px";
  const same = (inputs) => JSON.stringify(inputs) === JSON.stringify(model.get("inputs"));
  const hear = ({ source, data }) => {
    if (source !== frame.contentWindow || !Array.isArray(data?.inputs) || same(data.inputs)) return;
    model.set("inputs", data.inputs);
    model.save_changes();
  };
  const tell = () => frame.contentWindow.postMessage({ inputs: model.get("inputs") }, "*");
  addEventListener("message", hear);
  frame.addEventListener("load", tell);
  model.on("change:inputs", tell);
  el.append(frame);
  return () => {
    removeEventListener("message", hear);
    model.off("change:inputs", tell);
  };
}

export default { render };
