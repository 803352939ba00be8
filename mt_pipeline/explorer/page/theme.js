// Sets the theme before anything is drawn. The choice stays in this browser; without one, the
// system decides.
{
  const system = matchMedia("(prefers-color-scheme: dark)");
  const set = () => {
    const chosen = localStorage.getItem("theme");
    document.documentElement.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
  };
  system.addEventListener("change", set);
  set();
}
