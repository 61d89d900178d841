"use strict";
(async () => {
  if (!window.DecompressionStream) {
    document.getElementById("plain").hidden = false;
    return;
  }
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (sign) => sign.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = document.createElement("script");
  library.textContent = await new Response(unpacked).text();
  document.head.append(library);

  const night = JSON.parse(document.getElementById("night").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displayModeBar: false, displaylogo: false, showTips: false };

  const draw = (atNight, onPaper = false) => {
    for (const spec of document.querySelectorAll("script[data-for]")) {
      const text = atNight
        ? spec.textContent.replace(/#[0-9a-f]{6}/g, (colour) => night[colour] ?? colour)
        : spec.textContent;
      const { data, layout } = JSON.parse(text);
      const place = document.getElementById(spec.dataset.for);
      const size = onPaper ? { width: place.clientWidth } : { width: undefined, autosize: true };
      Plotly.react(place, data, { ...layout, ...size }, config);
    }
  };

  let folded = [];
  draw(dark.matches);
  dark.addEventListener("change", () => draw(dark.matches));
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((element) => { element.open = true; });
    document.body.classList.add("paper");  // drawn at the width of a sheet, whatever the window's
    draw(false, true);
  });
  window.addEventListener("afterprint", () => {
    document.body.classList.remove("paper");
    folded.forEach((element) => { element.open = false; });
    draw(dark.matches);
  });
})();
