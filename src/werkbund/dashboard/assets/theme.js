// Runs before the page is painted, so that a chosen appearance does not flash.
{
  const chosen = localStorage.getItem("werkbund-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
