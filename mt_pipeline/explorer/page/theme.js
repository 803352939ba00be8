// Sets the theme before anything is drawn. The choice stays in this browser; without one, the
// system decides.
{
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
